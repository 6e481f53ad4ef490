if code == TAKE then
  allowed = x <= room
  if allowed and cost > 0 then
    -- So many fit.
    local left = room - x
    local fit = (left - left % cost) / cost + 1
    if fit < times then
      allowed = false
    else
      fit = times
    end
    x, changed = x + fit * cost, true
  end
elseif code == ADD then
  local sum = x + cost
  allowed, changed = x <= room, true
  x = sum < MOST_HITS and sum or MOST_HITS
else
  allowed = true
  if x > 0 and cost > 0 and (code == GIVE or room == a) then
    x, changed = x > cost and x - cost or 0, true
  end
end
