-- The log as it is: hits in the window, the time of the newest, the present, and the next number; nothing, and why,
-- when Redis refuses to read it.
look = function(key, window)
  local newest = try('ZRANGE', key, '-1', '-1', 'WITHSCORES')
  if newest.err then
    return nil, newest.err
  elseif not newest[1] then
    return 0, 0, now, now
  end
  local time = tonumber(newest[2])
  local present = time > now and time or now
  local hits = call('ZCOUNT', key, format('%d', present - window + 1), '+inf')
  return hits, time, present, #newest[1] == 7 and unpack('>I7', newest[1]) + 1 or now
end

-- Asks for the time of the hit that must leave first, if it was there before this call.
ask = function(log, number)
  if number < log.hits then
    local asked = log.asked
    if not asked then
      log.asked = {number}
    elseif asked[#asked] ~= number then
      asked[#asked + 1] = number
    end
  end
end
