-- What x and y of a bucket are under another amount.
local function convert(x, y, algorithm, before, amount)
  if amount == 0 then
    return 0, 0
  elseif algorithm == 5 then
    return x, y < amount and y or amount - 1
  end
  x, y = muldiv(x, before, y, amount)
  if x >= MOST_DRAIN then
    return MOST_DRAIN, 0
  end
  return x, y
end
