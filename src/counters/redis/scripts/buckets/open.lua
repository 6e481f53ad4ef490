-- token_bucket (4) and leaky_bucket (5): x = the time to drain in whole microseconds, y = and so many amount-ths of
-- one; a = the amount, b = the present (the time of the last change, if the clock is behind it).
-- State: '<Bddd' tag, arrival, its amount-ths, time of the last change; of a token bucket also 'd' the amount.
x, y, a, b = 0, 0, first, now
if a > 0 and state and byte(state) == algorithm and #state == (algorithm == 4 and 33 or 25) then
  local _, arrival, fraction, seen = unpack('<Bddd', state)
  if algorithm == 4 then
    local before = unpack('<d', state, 26)
    if before ~= a then
      -- The hits stay, the time they need changes.
      arrival, fraction = muldiv(arrival - seen, before, fraction, a)
      if arrival >= MOST_DRAIN then
        arrival, fraction = MOST_DRAIN, 0
      end
      arrival = arrival + seen
    end
  elseif fraction >= a then
    fraction = a - 1
  end
  if seen > now then
    b = seen
  end
  if arrival >= b then
    x, y = arrival - b, fraction
  end
end
