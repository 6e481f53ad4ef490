-- For tests: time is the last argument. As it has nothing to do with Redis' own, keys stay an hour longer.
local now, grace = tonumber(ARGV[#ARGV]), 3600000
