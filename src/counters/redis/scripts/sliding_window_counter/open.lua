-- sliding_window_counter (3): x = the present window's count, y = that of the one before; a = the present window's
-- start, b = how much of the one before is still covered, c = the window's length, d = whether its key has the right
-- expiry already.
-- State: '<Bddd' tag, start, previous, current.
x, y, a, c, d = 0, 0, now - now % first, first, false
if state and #state == 25 and byte(state) == 3 then
  local _, begin, before, counted = unpack('<Bddd', state)
  if begin >= a then
    x, y, a = counted, before, begin
    d = counted > 0 and begin <= now
  elseif begin + c == a then
    y = counted
  end
end
b = c - (a < now and now - a or 0)
