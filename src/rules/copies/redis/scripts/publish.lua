-- Puts a full copy, whose parts are there already, in the place of what is known, unless that is something else.
-- KEYS: head, log. ARGV: epoch, revision, title, bytes, lifetime (s), channel, epoch and revision that may be replaced
-- (or empty), then the changes behind it.
-- Returns {'done', the title that was there} or {'other', epoch, revision that are there}.
local head, log = KEYS[1], KEYS[2]
local epoch, revision = ARGV[1], ARGV[2]
local known = redis.call('HMGET', head, 'epoch', 'revision', 'title')
if known[1] or known[2] then
  local there, at = known[1] or '', known[2] or ''
  local older = there == epoch and (tonumber(at) or math.huge) <= tonumber(revision)
  if not older and not (there == ARGV[7] and at == ARGV[8]) then
    return { 'other', there, at }
  end
end
redis.call('DEL', head, log)
redis.call('HSET', head, 'epoch', epoch, 'revision', revision, 'title', ARGV[3], 'bytes', ARGV[4], 'log', 0)
local bytes = 0
for at = 9, #ARGV do
  redis.call('RPUSH', log, ARGV[at])
  bytes = bytes + #ARGV[at]
end
redis.call('HSET', head, 'log', bytes)
redis.call('EXPIRE', head, ARGV[5])
redis.call('EXPIRE', log, ARGV[5])
redis.call('PUBLISH', ARGV[6], epoch .. ' ' .. revision)
return { 'done', known[3] or '' }
