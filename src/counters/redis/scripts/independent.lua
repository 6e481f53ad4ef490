-- Performs runs of steps, counter by counter. KEYS: the counters. ARGV: for each counter its head and its runs; then
-- the channel of notices, and notices. Replies with the time and each counter's state before; '!' and a text when
-- Redis refuses to read it, '?' when the time is in none of its calendar windows.
local reply, KEYS, ARGV = {now}, KEYS, ARGV
for i = 1, #KEYS do
  local key, arg = KEYS[i], ARGV[i]
  local algorithm, notice, first, second, position = unpack('<BHdd', arg)
  local state, x, y, a, b, c, d
  --[open]
  if x then
    local length, dirty, gave = #arg, false, false
    while position <= length do
      local code, times, cost, cost_part, room, room_part, allowed, changed
      code, times, cost, cost_part, room, room_part, position = unpack('<BI4dddd', arg, position)
      --[step]
      if changed then
        dirty, gave = true, gave or code >= GIVE
      end
    end
    --[close]
    if gave and notice > 0 then
      call('PUBLISH', ARGV[#KEYS + 1], ARGV[#KEYS + 1 + notice])
    end
  end
  reply[i + 1] = state
end
return reply
