-- sliding_window_log: a sorted set with one member a hit, its score the time. Members are consecutive numbers,
-- big-endian, so that they are unique and hits of the same time keep their order; they begin at the present time, so
-- that no member is ever used again.
--
-- x = hits in the window, y = how many have been removed from the front, and a half more once a refund has emptied the
-- log, so that it has no newest hit any more that could be ahead of the clock; a = a table of all else. Nothing is written
-- before the end: hits are numbered from the window's first (0) on through those that this call appends, and what a
-- denied hit waits for is asked for by its number.
-- Reply: '<Bddd' tag, hits in the window, time of the newest, the next number; then '<dd' number and time of each hit
-- that was asked for. All are those before the call; after it, of a release.

local function look(key, window)
  local newest = try('ZRANGE', key, '-1', '-1', 'WITHSCORES')
  if newest.err then
    return nil, newest.err
  elseif not newest[1] then
    return 0, 0, now, now
  end
  local time = tonumber(newest[2])
  local present = time > now and time or now
  local hits = call('ZCOUNT', key, format('%d', present - window + 1), '+inf')
  return hits, time, present, #newest[1] == 7 and unpack('>I7', newest[1]) + 1 or now
end

local function open(key, arg)
  local _, notice, window, _, position = unpack('<BHdd', arg)
  local hits, newest, present, following = look(key, window)
  if not hits then
    return '!' .. newest
  end
  local log = {key = key, window = window, hits = hits, newest = newest, present = present, following = following}
  return false, hits, 0, log, nil, nil, nil, notice, position
end

-- Asks for the time of the hit that must leave first, if it was there before this call.
local function ask(log, number)
  if number < log.hits then
    local asked = log.asked
    if not asked then
      log.asked = {number}
    elseif asked[#asked] ~= number then
      asked[#asked + 1] = number
    end
  end
end

local function step(hits, removed, log, _, _, code, times, cost, recorded, room, amount)
  if code == TAKE then
    for done = 1, times do
      if hits > room then
        if room >= 0 then
          ask(log, removed + hits - room - 1)
        end
        return hits, removed, false, done > 1 and cost > 0
      end
      hits = hits + cost
    end
    return hits, removed, true, cost > 0
  elseif code == ADD then
    local allowed
    for _ = 1, times do
      allowed = hits <= room
      if not allowed and room >= 0 then
        ask(log, removed + hits + recorded - room - 1)
        if log.joint then
          -- Should the unit be refused, it is not recorded.
          ask(log, removed + hits - room - 1)
        end
      end
      -- Before a charge is recorded, only the newest amount + 1 stay.
      local surplus = hits - amount - 1
      if surplus > 0 then
        hits, removed = hits - surplus, removed + surplus
      end
      hits = hits + cost
    end
    return hits, removed, allowed, true
  elseif code == GIVE then
    local given = cost < hits and cost or hits
    removed = removed + given
    if given == hits and removed % 1 == 0 then
      removed = removed + 0.5
    end
    return hits - given, removed, true, given > 0
  end
  -- A release, which stands alone in its call: the members from number `cost` on.
  local given = 0
  for first = cost, cost + recorded - 1, 1000 do
    local members = {}
    for number = first, math.min(first + 999, cost + recorded - 1) do
      members[#members + 1] = pack('>I7', number)
    end
    given = given + call('ZREM', log.key, spread(members))
  end
  log.released = true
  return hits, removed, true, given > 0
end

local function close(key, hits, removed, log, _, _, _, dirty)
  local before, window, present = log.hits, log.window, log.present
  if log.released then
    local newest, following
    before, newest, _, following = look(key, window)
    return pack('<Bddd', 6, before, newest, following)
  end
  local reply = pack('<Bddd', 6, before, log.newest, log.following)
  local asked = log.asked
  if not dirty and present > now then
    call('PEXPIRE', key, lifetime(key, window, true))
  end
  if not dirty and not asked then
    return reply
  end
  -- Those that have left the window are still there.
  local stale = log.newest > 0 and call('ZCARD', key) - before or 0
  if asked then
    local parts, i = {reply}, 1
    while i <= #asked do
      local first, last = asked[i], asked[i]
      while asked[i + 1] == last + 1 do
        i, last = i + 1, last + 1
      end
      local found = call('ZRANGE', key, format('%d', stale + first), format('%d', stale + last), 'WITHSCORES')
      for number = first, last do
        parts[#parts + 1] = pack('<dd', number, tonumber(found[2 * (number - first) + 2]))
      end
      i = i + 1
    end
    reply = table.concat(parts)
  end
  if dirty then
    if removed % 1 > 0 then
      removed, present = removed - 0.5, now
    end
    local gone = stale + (removed < before and removed or before)
    if gone > 0 then
      call('ZREMRANGEBYRANK', key, '0', format('%d', gone - 1))
    end
    local first = log.following + (removed > before and removed - before or 0)
    local last = log.following + hits - before + removed - 1
    local time, appended = format('%d', present), first <= last
    if first == last then
      call('ZADD', key, time, pack('>I7', first))
      first = last + 1
    end
    for from = first, last, 1000 do
      local members = {}
      for number = from, last < from + 999 and last or from + 999 do
        members[#members + 1] = time
        members[#members + 1] = pack('>I7', number)
      end
      call('ZADD', key, spread(members))
    end
    if hits > 0 then
      local newest = appended and present or log.newest
      call('PEXPIRE', key, lifetime(key, newest + window - present, present > now))
    end
  end
  return reply
end
