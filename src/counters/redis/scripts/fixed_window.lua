-- fixed_window: x = the window's count; a = its start, b = its end, d = whether its key
-- has the right expiry already.
-- State: '<Bdd' tag, start, count.

local function open(key, arg)
  local algorithm, notice, window, second, position = unpack('<BHdd', arg)
  local state = try('GET', key)
  if type(state) == 'table' then
    return '!' .. state.err
  end
  local start, finish, third, fourth
  if algorithm == 1 then
    start = now - now % window
    finish = start + window
  else
    -- A calendar: the bounds of three windows around the caller's time.
    third, fourth, position = unpack('<dd', arg, position)
    if now >= window and now < second then
      start, finish = window, second
    elseif now >= second and now < third then
      start, finish = second, third
    elseif now >= third and now < fourth then
      start, finish = third, fourth
    else
      return '?'
    end
  end
  local count, timed = 0, false
  if state and #state == 17 and byte(state) == 1 then
    local _, begin, counted = unpack('<Bdd', state)
    if begin >= start then
      count, timed = counted, begin <= now
      if begin > start then
        -- Ahead of the clock. How long a calendar's future window is makes no difference to anything but its expiry.
        start, finish = begin, begin + (finish - start)
      end
    end
  end
  return state, count, nil, start, finish, nil, timed, notice, position
end

local function step(count, _, start, _, _, code, times, cost, _, room)
  if code == TAKE then
    if count > room then
      return count, nil, false, false
    elseif cost == 0 then
      return count, nil, true, false
    end
    local left = room - count
    local fit = (left - left % cost) / cost + 1
    if fit < times then
      return count + fit * cost, nil, false, true
    end
    return count + times * cost, nil, true, true
  elseif code == ADD then
    local sum = count + cost
    return sum < MOST_HITS and sum or MOST_HITS, nil, count <= room, true
  elseif count == 0 or cost == 0 or (code == RELEASE and room ~= start) then
    return count, nil, true, false
  end
  return count > cost and count - cost or 0, nil, true, true
end

local function close(key, count, _, start, finish, _, timed, dirty)
  if not dirty and start <= now then
    return
  elseif timed then
    call('SET', key, pack('<Bdd', 1, start, count), 'KEEPTTL')
    return
  end
  local px = lifetime(key, finish - (start > now and start or now), start > now)
  if dirty then
    call('SET', key, pack('<Bdd', 1, start, count), 'PX', px)
  else
    call('PEXPIRE', key, px)
  end
end
