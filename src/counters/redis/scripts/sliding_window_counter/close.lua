if dirty and d then
  call('SET', key, pack('<Bddd', 3, a, y, x), 'KEEPTTL')
elseif dirty or a > now then
  local finish = a + (x > 0 and 2 * c or c)
  local px = lifetime(key, finish - (a > now and a or now), a > now)
  if dirty then
    call('SET', key, pack('<Bddd', 3, a, y, x), 'PX', px)
  else
    call('PEXPIRE', key, px)
  end
end
