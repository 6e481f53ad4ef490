if dirty and d then
  -- Only the count, in place: a tenth of the call's time less than writing the state anew.
  call('SETRANGE', key, '9', pack('<d', x))
elseif dirty then
  call('SET', key, pack('<Bdd', 1, a, x), 'PX', lifetime(key, b - (a > now and a or now), a > now))
elseif a > now then
  call('PEXPIRE', key, lifetime(key, b - a, true))
end
