-- Everything that the scripts of counters call, on one key. Returns what was refused, as "COMMAND: why".
local key, refused = KEYS[1], {}
local function try(name, ...)
  local answer = redis.pcall(name, ...)
  if type(answer) == 'table' and answer.err then
    refused[#refused + 1] = name .. ': ' .. answer.err
  end
end
try('TIME')
try('UNLINK', key)
try('SET', key, '1', 'PX', '10000')
try('SET', key, '2', 'KEEPTTL')
try('SETRANGE', key, '0', '3')
try('GET', key)
try('PTTL', key)
try('PEXPIRE', key, '10000')
try('UNLINK', key)
try('ZADD', key, '1', 'a', '2', 'b')
try('PEXPIRE', key, '10000')
try('ZCARD', key)
try('ZCOUNT', key, '1', '+inf')
try('ZRANGE', key, '-1', '-1', 'WITHSCORES')
try('ZREM', key, 'a')
try('ZREMRANGEBYRANK', key, '0', '0')
try('ZREMRANGEBYSCORE', key, '-inf', '9')
try('UNLINK', key)
return refused
