-- Performs units of steps, all or nothing. KEYS: the counters. ARGV: for each counter its head; the units; the channel
-- of notices, and notices. Replies as the other driver does, with the state before all units.
--
-- A key may occur more than once, with different limits: all its occurrences share the place of the first. OX and OY
-- are each occurrence's view of the state before; X and Y are a place's state since its first change, in the view of
-- counter W, which is 0 before.
local function open(key, arg)
  local algorithm, notice, first, second, position = unpack('<BHdd', arg)
  local state, x, y, a, b, c, d
  --[open]
  return algorithm, state, x, y, a, b, c, d, notice
end

local function step(algorithm, x, y, a, b, c, code, times, cost, cost_part, room, room_part)
  local allowed, changed
  --[step]
  return x, y, allowed, changed
end

local function close(algorithm, key, state, x, y, a, b, c, d, dirty)
  --[close]
  return state
end

local reply = {now}
local place, first_of, algorithms = {}, {}, {}
local A, B, C, D, OX, OY, notices = {}, {}, {}, {}, {}, {}, {}
local X, Y, W, dirty, gave = {}, {}, {}, {}, {}
for i = 1, #KEYS do
  local key = KEYS[i]
  local algorithm, state, x, y, a, b, c, d, notice = open(key, ARGV[i])
  local first = first_of[key]
  if first then
    place[i], reply[i + 1] = first, reply[first + 1]
    if algorithm == 6 and x then
      a = A[first]
    end
  else
    first_of[key], place[i], reply[i + 1], W[i] = i, i, state, 0
    if algorithm == 6 and x then
      a.joint = true
    end
  end
  algorithms[i], A[i], B[i], C[i], D[i], OX[i], OY[i], notices[i] = algorithm, a, b, c, d, x, y, notice
end

-- Performs one step on states, and returns whether it is allowed and whether it changed anything.
local function act(X, Y, W, i, code, times, first, second, third, fourth)
  local at, algorithm = place[i], algorithms[i]
  local x, y, under = X[at], Y[at], W[at]
  if under == 0 then
    x, y = OX[i], OY[i]
  elseif under ~= i and (algorithm == 4 or algorithm == 5) then
    x, y = convert(x, y, algorithm, A[under], A[i])
  end
  local allowed, changed
  x, y, allowed, changed = step(algorithm, x, y, A[i], B[i], C[i], code, times, first, second, third, fourth)
  if changed then
    X[at], Y[at], W[at] = x, y, i
  end
  return allowed, changed
end

local units = ARGV[#KEYS + 1]
local position, length = 1, #units
while position <= length do
  local count, begin = unpack('<H', units, position)
  -- On a copy first.
  local TX, TY, TW, changes, gifts = {}, {}, {}, {}, {}
  local refused, broken = false, false
  position = begin
  for _ = 1, count do
    local i, enforced, code, times, first, second, third, fourth
    i, enforced, code, times, first, second, third, fourth, position = unpack('<HBBI4dddd', units, position)
    local at = place[i]
    if not OX[i] then
      broken = true
    elseif not broken then
      if not TW[at] then
        TX[at], TY[at], TW[at] = X[at], Y[at], W[at]
      end
      local allowed, changed = act(TX, TY, TW, i, code, times, first, second, third, fourth)
      refused = refused or (enforced == 1 and not allowed)
      if changed then
        changes[at] = true
        if code == GIVE then
          gifts[at] = i
        end
      end
    end
  end
  if refused and not broken then
    -- Of the unit, only the refunds.
    position, changes, gifts = begin, {}, {}
    for _ = 1, count do
      local i, _, code, times, first, second, third, fourth
      i, _, code, times, first, second, third, fourth, position = unpack('<HBBI4dddd', units, position)
      if code == GIVE then
        local _, changed = act(X, Y, W, i, code, times, first, second, third, fourth)
        if changed then
          changes[place[i]], gifts[place[i]] = true, i
        end
      end
    end
  end
  if not broken then
    for at in pairs(changes) do
      dirty[at], gave[at] = true, gifts[at] or gave[at]
      if not refused then
        X[at], Y[at], W[at] = TX[at], TY[at], TW[at]
      end
    end
  end
end

for i = 1, #KEYS do
  if place[i] ~= i then
    reply[i + 1] = reply[place[i] + 1]
  elseif OX[i] then
    local x, y, under = X[i], Y[i], W[i]
    if under == 0 then
      x, y, under = OX[i], OY[i], i
    end
    local a, b, c, d = A[under], B[under], C[under], D[under]
    reply[i + 1] = close(algorithms[i], KEYS[i], reply[i + 1], x, y, a, b, c, d, dirty[i])
    if gave[i] and notices[gave[i]] > 0 then
      call('PUBLISH', ARGV[#KEYS + 2], ARGV[#KEYS + 2 + notices[gave[i]]])
    end
  end
end
return reply
