-- token_bucket (4) and leaky_bucket (5): x = the time to drain in whole microseconds, y = and so many amount-ths of
-- one; a = the amount, b = the present (the time of the last change, if the clock is behind it), c = the algorithm.
-- State: '<Bddd' tag, arrival, its amount-ths, time of the last change; of a token bucket also 'd' the amount.

local function open(key, arg)
  local algorithm, notice, amount, _, position = unpack('<BHdd', arg)
  local state = try('GET', key)
  if type(state) == 'table' then
    return '!' .. state.err
  end
  local whole, part, present = 0, 0, now
  if amount > 0 and state and byte(state) == algorithm and #state == (algorithm == 4 and 33 or 25) then
    local _, arrival, fraction, seen = unpack('<Bddd', state)
    if algorithm == 4 then
      local before = unpack('<d', state, 26)
      if before ~= amount then
        -- The hits stay, the time they need changes.
        arrival, fraction = muldiv(arrival - seen, before, fraction, amount)
        if arrival >= MOST_DRAIN then
          arrival, fraction = MOST_DRAIN, 0
        end
        arrival = arrival + seen
      end
    elseif fraction >= amount then
      fraction = amount - 1
    end
    if seen > now then
      present = seen
    end
    if arrival >= present then
      whole, part = arrival - present, fraction
    end
  end
  return state, whole, part, amount, present, algorithm, nil, notice, position
end

local function step(whole, part, amount, present, _, code, times, cost, cost_part, room, room_part)
  if code == TAKE or code == ADD then
    local allowed
    for done = 1, times do
      allowed = whole < room or (whole == room and part <= room_part)
      if not allowed and code == TAKE then
        return whole, part, false, done > 1 and (cost > 0 or cost_part > 0)
      end
      whole = whole + cost
      if part >= amount - cost_part then
        whole, part = whole + 1, part - (amount - cost_part)
      else
        part = part + cost_part
      end
      if whole >= MOST_DRAIN then
        whole, part = MOST_DRAIN, 0
      end
    end
    return whole, part, allowed, cost > 0 or cost_part > 0
  end
  if code == RELEASE then
    -- The part of the hold that has not drained yet.
    local left = room - present
    if left < 0 then
      return whole, part, true, false
    elseif left < cost or (left == cost and room_part < cost_part) then
      cost, cost_part = left, room_part
    end
  end
  if (whole == 0 and part == 0) or (cost == 0 and cost_part == 0) then
    return whole, part, true, false
  elseif whole < cost or (whole == cost and part <= cost_part) then
    return 0, 0, true, true
  elseif part < cost_part then
    return whole - cost - 1, part + (amount - cost_part), true, true
  end
  return whole - cost, part - cost_part, true, true
end

local function close(key, whole, part, amount, present, algorithm, _, dirty)
  if not dirty and present <= now then
    return
  end
  local px = lifetime(key, part > 0 and whole + 1 or whole, present > now)
  if not dirty then
    call('PEXPIRE', key, px)
  elseif algorithm == 4 then
    call('SET', key, pack('<Bdddd', 4, present + whole, part, present, amount), 'PX', px)
  else
    call('SET', key, pack('<Bddd', 5, present + whole, part, present), 'PX', px)
  end
end

-- What x and y are under another amount.
local function convert(whole, part, algorithm, before, amount)
  if amount == 0 then
    return 0, 0
  elseif algorithm == 5 then
    return whole, part < amount and part or amount - 1
  end
  whole, part = muldiv(whole, before, part, amount)
  if whole >= MOST_DRAIN then
    return MOST_DRAIN, 0
  end
  return whole, part
end
