-- Writes a change behind what is there, when it follows on it.
-- KEYS: head, log. ARGV: epoch, from, to, change, lifetime (s), channel, most changes, least and most bytes of a log.
-- Returns {'done'}, {'known'}, {'copy'} when a full copy is needed, or {'other', epoch, revision that are there}.
local head, log = KEYS[1], KEYS[2]
local known = redis.call('HMGET', head, 'epoch', 'revision', 'bytes', 'log')
if not known[1] then
  return { 'copy' }
end
local at = tonumber(known[2])
if known[1] ~= ARGV[1] or not at then
  return { 'other', known[1], known[2] or '' }
end
if at >= tonumber(ARGV[3]) then
  return { 'known' }
end
local bytes = (tonumber(known[4]) or math.huge) + #ARGV[4]
local allowance = math.min(math.max((tonumber(known[3]) or 0) / 4, tonumber(ARGV[8])), tonumber(ARGV[9]))
if at < tonumber(ARGV[2]) or bytes > allowance or redis.call('LLEN', log) >= tonumber(ARGV[7]) then
  return { 'copy' }
end
redis.call('RPUSH', log, ARGV[4])
redis.call('HSET', head, 'revision', ARGV[3], 'log', bytes)
redis.call('EXPIRE', head, ARGV[5])
redis.call('EXPIRE', log, ARGV[5])
redis.call('PUBLISH', ARGV[6], ARGV[1] .. ' ' .. ARGV[3])
return { 'done' }
