-- Redis' own time, so that replicas with skewed clocks agree; and the milliseconds that a key outlives its counter.
local time = call('TIME')
local now, grace = time[1] * 1000000 + time[2], 1
