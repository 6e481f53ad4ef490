-- The quotient (saturating at 2^53 - 1) and remainder of a * b + c by m, exactly, for a, b, c and m below 2^53.
local function muldiv(a, b, c, m)
  local sum = a * b + c
  if sum < 9007199254740992 then
    local rest = sum % m
    return (sum - rest) / m, rest
  end
  -- Long multiplication in quotients and remainders, which stay below 2^53, from the highest bit of the smaller factor
  -- to its lowest.
  if a < b then
    a, b = b, a
  end
  local rest_a = a % m
  local quotient_a = (a - rest_a) / m
  local quotient, rest = 0, 0
  local bit = 1
  while bit + bit <= b do
    bit = bit + bit
  end
  while bit >= 1 do
    if rest >= m - rest then
      quotient, rest = 2 * quotient + 1, rest - (m - rest)
    else
      quotient, rest = 2 * quotient, rest + rest
    end
    if b >= bit then
      b = b - bit
      quotient = quotient + quotient_a
      if rest >= m - rest_a then
        quotient, rest = quotient + 1, rest - (m - rest_a)
      else
        rest = rest + rest_a
      end
    end
    if quotient > 9007199254740991 then
      return 9007199254740991, 0
    end
    bit = bit / 2
  end
  local rest_c = c % m
  quotient = quotient + (c - rest_c) / m
  if rest >= m - rest_c then
    quotient, rest = quotient + 1, rest - (m - rest_c)
  else
    rest = rest + rest_c
  end
  if quotient > 9007199254740991 then
    return 9007199254740991, 0
  end
  return quotient, rest
end
