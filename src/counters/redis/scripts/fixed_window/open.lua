-- fixed_window (1; 2 in calendar windows): x = the window's count; a = its start, b = its end, d = whether its key has
-- the right expiry already.
-- State: '<Bdd' tag, start, count.
if algorithm == 1 then
  a = now - now % first
  b = a + first
else
  -- A calendar: the bounds of three windows around the caller's time.
  local third, fourth
  third, fourth, position = unpack('<dd', arg, position)
  if now >= first and now < second then
    a, b = first, second
  elseif now >= second and now < third then
    a, b = second, third
  elseif now >= third and now < fourth then
    a, b = third, fourth
  else
    state = '?'
  end
end
if a then
  x, d = 0, false
  if state and #state == 17 and byte(state) == 1 then
    local _, begin, counted = unpack('<Bdd', state)
    if begin >= a then
      x, d = counted, begin <= now
      if begin > a then
        -- Ahead of the clock. How long a calendar's future window is makes no difference to anything but its expiry.
        a, b = begin, begin + (b - a)
      end
    end
  end
end
