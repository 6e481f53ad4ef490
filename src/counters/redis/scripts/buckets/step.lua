if code == TAKE or code == ADD then
  if times > 1 and a > 0 then
    -- All but the last in one go, if that one fits as well.
    local more, rest = muldiv(times - 1, cost_part, y, a)
    local whole = x + (times - 1) * cost + more
    if whole < room or (whole == room and rest <= room_part) then
      x, y, times = whole, rest, 1
    end
  end
  local charges = cost > 0 or cost_part > 0
  for done = 1, times do
    allowed = x < room or (x == room and y <= room_part)
    if not allowed and code == TAKE then
      changed = done > 1 and charges
      break
    end
    changed = charges
    x = x + cost
    if y >= a - cost_part then
      x, y = x + 1, y - (a - cost_part)
    else
      y = y + cost_part
    end
    if x >= MOST_DRAIN then
      x, y = MOST_DRAIN, 0
    end
  end
else
  allowed = true
  if code == RELEASE then
    -- The part of the hold that has not drained yet.
    local left = room - b
    if left < 0 then
      cost, cost_part = 0, 0
    elseif left < cost or (left == cost and room_part < cost_part) then
      cost, cost_part = left, room_part
    end
  end
  changed = (x > 0 or y > 0) and (cost > 0 or cost_part > 0)
  if not changed then
    -- Nothing to give, or nobody to give it to.
  elseif x < cost or (x == cost and y <= cost_part) then
    x, y = 0, 0
  elseif y < cost_part then
    x, y = x - cost - 1, y + (a - cost_part)
  else
    x, y = x - cost, y - cost_part
  end
end
