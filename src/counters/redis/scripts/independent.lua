-- Performs runs of steps, counter by counter. KEYS: the counters. ARGV: for each counter its head and its runs; then
-- the channel of notices, and notices. Replies with the time and each counter's state before; '!' and a text when
-- Redis refuses to read it, '?' when the time is in none of its calendar windows.
local open, step, close, current
local reply = {now}
for i = 1, #KEYS do
  local key, arg = KEYS[i], ARGV[i]
  local algorithm = byte(arg)
  if algorithm ~= current then
    -- Not kept for later: what is made here costs less than tables to keep it in.
    open, step, close = make(algorithm)
    current = algorithm
  end
  local state, x, y, a, b, c, d, notice, position = open(key, arg)
  if x then
    local length, dirty, gave = #arg, false, false
    while position <= length do
      local code, times, first, second, third, fourth, changed, _
      code, times, first, second, third, fourth, position = unpack('<BI4dddd', arg, position)
      x, y, _, changed = step(x, y, a, b, c, code, times, first, second, third, fourth)
      if changed then
        dirty, gave = true, gave or code >= GIVE
      end
    end
    state = close(key, x, y, a, b, c, d, dirty) or state
    if gave and notice > 0 then
      call('PUBLISH', ARGV[#KEYS + 1], ARGV[#KEYS + 1 + notice])
    end
  end
  reply[i + 1] = state
end
return reply
