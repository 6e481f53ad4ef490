if dirty and d then
  call('SET', key, pack('<Bdd', 1, a, x), 'KEEPTTL')
elseif dirty then
  call('SET', key, pack('<Bdd', 1, a, x), 'PX', lifetime(key, b - (a > now and a or now), a > now))
elseif a > now then
  call('PEXPIRE', key, lifetime(key, b - a, true))
end
