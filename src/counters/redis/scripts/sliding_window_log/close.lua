local before, window, present, asked = a.hits, a.window, a.present, a.asked
if a.released then
  local hits, newest, _, following = look(key, window)
  state = pack('<Bddd', 6, hits, newest, following)
else
  state = pack('<Bddd', 6, before, a.newest, a.following)
  if not dirty and present > now then
    call('PEXPIRE', key, lifetime(key, window, true))
  end
  -- Those that have left the window are still there.
  local stale = (dirty or asked) and a.newest > 0 and call('ZCARD', key) - before or 0
  if asked then
    local parts, i = {state}, 1
    while i <= #asked do
      local from, to = asked[i], asked[i]
      while asked[i + 1] == to + 1 do
        i, to = i + 1, to + 1
      end
      local found = call('ZRANGE', key, format('%d', stale + from), format('%d', stale + to), 'WITHSCORES')
      for number = from, to do
        parts[#parts + 1] = pack('<dd', number, tonumber(found[2 * (number - from) + 2]))
      end
      i = i + 1
    end
    state = table.concat(parts)
  end
  if dirty then
    local removed = y
    if removed % 1 > 0 then
      removed, present = removed - 0.5, now
    end
    local gone = stale + (removed < before and removed or before)
    if gone > 0 then
      call('ZREMRANGEBYRANK', key, '0', format('%d', gone - 1))
    end
    local following = a.following + (removed > before and removed - before or 0)
    local last = a.following + x - before + removed - 1
    local time, appended = format('%d', present), following <= last
    if following == last then
      call('ZADD', key, time, pack('>I7', following))
      following = last + 1
    end
    for from = following, last, 1000 do
      local members = {}
      for number = from, last < from + 999 and last or from + 999 do
        members[#members + 1] = time
        members[#members + 1] = pack('>I7', number)
      end
      call('ZADD', key, spread(members))
    end
    if x > 0 then
      local newest = appended and present or a.newest
      call('PEXPIRE', key, lifetime(key, newest + window - present, present > now))
    end
  end
end
