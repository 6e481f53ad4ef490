-- Forgets one counter, and tells every replica.
local existed = redis.call('UNLINK', KEYS[1])
redis.call('PUBLISH', ARGV[1], ARGV[2])
return existed
