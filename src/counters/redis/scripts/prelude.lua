-- Every script begins with this, then a clock, then what algorithms share, then a driver. What an algorithm does stands
-- in three pieces, open, step and close, which take their place in the driver as they are (see scripts.rs):
-- calls of functions, and making them in every run, would cost a fifth of a call's time.
--
-- All numbers are whole and below 2^53, where doubles are exact, and every operation below keeps them so. Times are
-- microseconds since the Unix epoch. States are packed little-endian behind a tag, which is the algorithm and the
-- layout; a value with another tag or length counts as absent.
local call, try = redis.call, redis.pcall
local spread = unpack
local pack, unpack, byte = struct.pack, struct.unpack, string.byte
-- Numbers are handed to commands as text: what Redis makes of them itself takes three times as long.
local ceil, format = math.ceil, string.format

-- Hits saturate here, and the time that a bucket needs to drain.
local MOST_HITS, MOST_DRAIN = 9007199254740991, 4503599627370496

-- What is done to a counter. TAKE charges if it fits, ADD charges anyway, GIVE refunds, RELEASE gives back a hold.
local TAKE, ADD, GIVE, RELEASE = 1, 2, 3, 4
