-- Writes entries behind a stream, and takes away from its front what is too old or too much.
-- KEYS: stream, sizes, state, seat. ARGV: the seat's holder, or empty when anybody may write; most bytes; most entries;
-- most age (ms); how long the state is kept (ms); then the entries.
-- Returns the last entry's id, or nothing when somebody else has the seat.
--
-- An entry names the one before it ('after'), so that a reader knows whether it has missed any. The state is the last id
-- and the bytes of all entries there ever were; 'sizes' has for each entry its time and the bytes before it. (To ask the
-- stream's front for its size would copy it.)
local stream, sizes, state = KEYS[1], KEYS[2], KEYS[3]
if ARGV[1] ~= '' and redis.call('GET', KEYS[4]) ~= ARGV[1] then
  return false
end
local known = redis.call('HMGET', state, 'last', 'bytes')
local last, bytes = known[1] or '0-0', tonumber(known[2]) or 0
for at = 6, #ARGV do
  local id = redis.call('XADD', stream, '*', 'after', last, 'entry', ARGV[at])
  redis.call('RPUSH', sizes, string.match(id, '^%d+') .. ' ' .. string.format('%.0f', bytes))
  last, bytes = id, bytes + #ARGV[at]
end
redis.call('HSET', state, 'last', last, 'bytes', string.format('%.0f', bytes))
local count, now = redis.call('LLEN', sizes), tonumber(string.match(last, '^%d+'))
-- What is due after a pause is taken away little by little.
local removed = 0
while count > 1 and removed < 256 do
  local at, before = string.match(redis.call('LINDEX', sizes, 0), '^(%d+) (%d+)$')
  local stays = at and count <= tonumber(ARGV[3]) and bytes - tonumber(before) <= tonumber(ARGV[2])
  if stays and now - tonumber(at) <= tonumber(ARGV[4]) then
    break
  end
  redis.call('LPOP', sizes)
  count, removed = count - 1, removed + 1
end
if removed > 0 then
  redis.call('XTRIM', stream, 'MAXLEN', count)
end
redis.call('PEXPIRE', stream, 2 * ARGV[4])
redis.call('PEXPIRE', sizes, 2 * ARGV[4])
redis.call('PEXPIRE', state, ARGV[5])
return last
