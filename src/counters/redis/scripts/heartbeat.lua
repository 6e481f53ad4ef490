-- Says that a replica lives: KEYS[1] the sorted set of replicas by the time of their last word in milliseconds,
-- ARGV[1] the replica, ARGV[2] after how long in milliseconds it does not count any more; 0 takes it out at once.
-- Returns how many there are.
local key, replica, lifetime = KEYS[1], ARGV[1], tonumber(ARGV[2])
if lifetime == 0 then
  redis.call('ZREM', key, replica)
else
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  redis.call('ZADD', key, now, replica)
  redis.call('PEXPIRE', key, lifetime)
  redis.call('ZREMRANGEBYSCORE', key, '-inf', now - lifetime)
  -- From before the clock was set back.
  redis.call('ZREMRANGEBYSCORE', key, now + lifetime, '+inf')
end
return redis.call('ZCARD', key)
