if dirty or b > now then
  local px = lifetime(key, y > 0 and x + 1 or x, b > now)
  if not dirty then
    call('PEXPIRE', key, px)
  elseif algorithm == 4 then
    call('SET', key, pack('<Bdddd', 4, b + x, y, b, a), 'PX', px)
  else
    call('SET', key, pack('<Bddd', 5, b + x, y, b), 'PX', px)
  end
end
