-- Of an ADD, cost_part is how many hits are recorded, room_part the amount.
if code == TAKE then
  for done = 1, times do
    allowed = x <= room
    if not allowed then
      if room >= 0 then
        ask(a, y + x - room - 1)
      end
      changed = done > 1 and cost > 0
      break
    end
    x, changed = x + cost, cost > 0
  end
elseif code == ADD then
  for _ = 1, times do
    allowed = x <= room
    if not allowed and room >= 0 then
      ask(a, y + x + cost_part - room - 1)
      if a.joint then
        -- Should the unit be refused, it is not recorded.
        ask(a, y + x - room - 1)
      end
    end
    -- Before a charge is recorded, only the newest amount + 1 stay.
    local surplus = x - room_part - 1
    if surplus > 0 then
      x, y = x - surplus, y + surplus
    end
    x = x + cost
  end
  changed = true
elseif code == GIVE then
  local given = cost < x and cost or x
  y = y + given
  if given == x and y % 1 == 0 then
    y = y + 0.5
  end
  x, allowed, changed = x - given, true, given > 0
else
  -- A release, which stands alone in its call: the members from number `cost` on.
  local given, last = 0, cost + cost_part - 1
  for from = cost, last, 1000 do
    local members = {}
    for number = from, last < from + 999 and last or from + 999 do
      members[#members + 1] = pack('>I7', number)
    end
    given = given + call('ZREM', a.key, spread(members))
  end
  a.released, allowed, changed = true, true, given > 0
end
