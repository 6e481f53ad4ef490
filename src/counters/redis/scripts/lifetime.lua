-- How long a key is kept, in milliseconds and as text, when its counter is as new after `left`. A counter that is ahead of the
-- clock, because that has stepped back, is not prolonged by use: so it starts anew when its time has passed, however
-- far ahead it is.
local function lifetime(key, left, ahead)
  local px = ceil(left / 1000) + grace
  if ahead then
    local ttl = call('PTTL', key)
    if ttl > 0 and ttl < px then
      px = ttl
    end
  end
  return format('%d', px)
end
