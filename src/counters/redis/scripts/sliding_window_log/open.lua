-- sliding_window_log (6): a sorted set with one member a hit, its score the time. Members are consecutive numbers,
-- big-endian, so that they are unique and hits of the same time keep their order; they begin at the present time, so
-- that no member is ever used again.
--
-- x = hits in the window, y = how many have been removed from the front, and a half more once a refund has emptied the
-- log, so that it has no newest hit any more that could be ahead of the clock; a = a table of all else. Nothing is written
-- before the end: hits are numbered from the window's first (0) on through those that this call appends, and what a
-- denied hit waits for is asked for by its number.
-- Reply: '<Bddd' tag, hits in the window, time of the newest, the next number; then '<dd' number and time of each hit
-- that was asked for. All are those before the call; after it, of a release.
local hits, newest, present, following = look(key, first)
if hits then
  x, y = hits, 0
  a = {key = key, window = first, hits = hits, newest = newest, present = present, following = following}
else
  state = '!' .. newest
end
