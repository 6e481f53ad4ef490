-- sliding_window_counter: x = the present window's count, y = that of the one before; a = the present window's start,
-- b = how much of the one before is still covered, c = the window's length, d = whether
-- its key has the right expiry already.
-- State: '<Bddd' tag, start, previous, current.

local function open(key, arg)
  local _, notice, window, _, position = unpack('<BHdd', arg)
  local state = try('GET', key)
  if type(state) == 'table' then
    return '!' .. state.err
  end
  local start, previous, current, timed = now - now % window, 0, 0, false
  if state and #state == 25 and byte(state) == 3 then
    local _, begin, before, counted = unpack('<Bddd', state)
    if begin >= start then
      start, previous, current = begin, before, counted
      timed = counted > 0 and begin <= now
    elseif begin + window == start then
      previous = counted
    end
  end
  local elapsed = start < now and now - start or 0
  return state, current, previous, start, window - elapsed, window, timed, notice, position
end

-- The share of the window before, rounded up.
local function covered(previous, left, window)
  if previous == 0 then
    return 0
  end
  local whole, rest = muldiv(previous, left, 0, window)
  return rest > 0 and whole + 1 or whole
end

local function step(current, previous, start, left, window, code, times, cost, _, room)
  if code == TAKE then
    local before, share = current, covered(previous, left, window)
    for _ = 1, times do
      local level = current + share
      if (level < MOST_HITS and level or MOST_HITS) > room then
        return current, previous, false, current > before
      end
      current = current + cost
    end
    return current, previous, true, current > before
  elseif code == ADD then
    local level = current + covered(previous, left, window)
    local sum = current + cost
    return sum < MOST_HITS and sum or MOST_HITS, previous, (level < MOST_HITS and level or MOST_HITS) <= room, true
  elseif code == RELEASE and room + window == start then
    local rest = previous > cost and previous - cost or 0
    return current, rest, true, rest < previous
  elseif code == RELEASE and room ~= start then
    return current, previous, true, false
  end
  local rest = current > cost and current - cost or 0
  return rest, previous, true, rest < current
end

local function close(key, current, previous, start, _, window, timed, dirty)
  if not dirty and start <= now then
    return
  elseif timed then
    call('SET', key, pack('<Bddd', 3, start, previous, current), 'KEEPTTL')
    return
  end
  local finish = start + (current > 0 and 2 * window or window)
  local px = lifetime(key, finish - (start > now and start or now), start > now)
  if dirty then
    call('SET', key, pack('<Bddd', 3, start, previous, current), 'PX', px)
  else
    call('PEXPIRE', key, px)
  end
end
