if code == TAKE or code == ADD then
  -- With the share of the window before, rounded up.
  local level = x
  if y > 0 then
    local whole, rest = muldiv(y, b, 0, c)
    level = x + (rest > 0 and whole + 1 or whole)
  end
  allowed = (level < MOST_HITS and level or MOST_HITS) <= room
  if code == ADD then
    local sum = x + cost
    x, changed = sum < MOST_HITS and sum or MOST_HITS, true
  elseif allowed and cost > 0 then
    -- So many fit.
    local left = room - level
    local fit = (left - left % cost) / cost + 1
    if fit < times then
      allowed = false
    else
      fit = times
    end
    x, changed = x + fit * cost, true
  end
else
  allowed = true
  if code == RELEASE and room + c == a then
    local rest = y > cost and y - cost or 0
    y, changed = rest, rest < y
  elseif code == GIVE or room == a then
    local rest = x > cost and x - cost or 0
    x, changed = rest, rest < x
  end
end
