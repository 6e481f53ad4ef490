-- Puts a head in the place of what is there, if the seat is still ours. KEYS: head, seat. ARGV: who, the new head, for how
-- long (s). Returns {the head that was there, or ''}, or nothing when somebody else has the seat.
-- What is kept is the new head and, on a second line, the one that it replaced. Done twice, it is as done once.
if redis.call('GET', KEYS[2]) ~= ARGV[1] then
  return false
end
local there = redis.call('GET', KEYS[1]) or ''
local old = string.match(there, '^[^\n]*')
if old ~= ARGV[2] then
  redis.call('SET', KEYS[1], ARGV[2] .. '\n' .. old, 'EX', ARGV[3])
end
return { there }
