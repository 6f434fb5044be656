-- Adds entries to the logs of customers and returns the logs that orders depend on.
-- KEYS[1]: a hash that marks, for each source that has entries here, that they are; its field
--   'arrived' counts entries, and while logs are made anew, 'anew' has the token of who makes them.
-- ARGV: prefix of the keys of logs | the source | '1' if the source must be marked, a token to
--   make logs anew, or '' | seconds a log is kept | seconds a log without orders is kept |
--   lookback in ms | up to when orders are settled, ms | most touches of a log | most orders and
--   refunds | how many pairs | pairs of customer and entry, each two bytes of length and the bytes.
-- A log is a hash of touches and a list of orders and refunds, each with its number in the
-- order of arrival, in 8 bytes. An entry is found again by its head of 19 bytes: kind,
-- partition, offset, time; it is not added twice. Returns for each entry that changes anything
-- its place among the pairs, from 0, and then '-' for an order or refund that is not kept, or
-- its number and the whole log, each entry after its length and number.
local prefix, source, mode, kept_s, touches_kept_s = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local lookback_ms, settled_ms = tonumber(ARGV[6]), tonumber(ARGV[7])
local most_touches, most_orders = tonumber(ARGV[8]), tonumber(ARGV[9])
local how_many, pairs_of = tonumber(ARGV[10]), ARGV[11]
local NUMBER, HEAD, TRIM_EVERY = 8, 19, 8

local anew = redis.call('HGET', KEYS[1], 'anew')
if #mode > 1 then
  if anew ~= mode then return redis.error_reply('ANEW by somebody else') end
elseif anew then
  return redis.error_reply('ANEW logs are being made anew')
elseif mode == '1' then
  if redis.call('HEXISTS', KEYS[1], source) == 0 then
    return redis.error_reply('EMPTIED the mark is gone')
  end
else
  redis.call('HSET', KEYS[1], source, '1')
end

local function time_of(head) return (struct.unpack('>I8', head, 12)) end
local function number_of(data) return (struct.unpack('>I8', data)) end

local function order_within(others, from_ms, until_ms)
  for n = 1, #others do
    local head = others[n]:sub(NUMBER + 1, NUMBER + HEAD)
    if head:byte(1) == 1 then
      local at = time_of(head)
      if at >= from_ms and at <= until_ms then return true end
    end
  end
  return false
end

-- Touches that no order can look back to any more are of no use.
local function trim(key, others)
  local before = settled_ms - lookback_ms
  local heads = redis.call('HKEYS', key)
  for n = 1, #heads do
    local at = time_of(heads[n])
    if at < before and not order_within(others, at, at + lookback_ms) then
      redis.call('HDEL', key, heads[n])
    end
  end
end

-- Returns the entry's number, which is that given if it is new; nil if it is not kept.
local function add_touch(key, others, number, head, body)
  if redis.call('HSETNX', key, head, struct.pack('>I8', number) .. body) == 0 then
    return number_of(redis.call('HGET', key, head))
  end
  local full = redis.call('HLEN', key) > most_touches
  if full or number % TRIM_EVERY == 0 then trim(key, others) end
  if full and redis.call('HLEN', key) > most_touches then
    redis.call('HDEL', key, head)
    return nil
  end
  return number
end

-- Returns the entry's number, which is that given if it is new; nil if it is not kept.
local function add_other(list, others, number, entry)
  local head = entry:sub(1, HEAD)
  for n = #others, 1, -1 do
    if others[n]:sub(NUMBER + 1, NUMBER + HEAD) == head then return number_of(others[n]) end
  end
  if #others >= most_orders then return nil end
  others[#others + 1] = struct.pack('>I8', number) .. entry
  redis.call('RPUSH', list, others[#others])
  return number
end

local function whole_log(key, others)
  local parts = {}
  local touches = redis.call('HGETALL', key)
  for n = 1, #touches, 2 do
    local head, data = touches[n], touches[n + 1]
    parts[#parts + 1] = struct.pack('>I2', HEAD + #data)
    parts[#parts + 1] = data:sub(1, NUMBER) .. head .. data:sub(NUMBER + 1)
  end
  for n = 1, #others do
    parts[#parts + 1] = struct.pack('>I2', #others[n])
    parts[#parts + 1] = others[n]
  end
  return table.concat(parts)
end

local arrived = redis.call('HINCRBY', KEYS[1], 'arrived', how_many) - how_many
local answer, place, at = {}, 0, 1
while at <= #pairs_of do
  local customer, entry
  customer, entry, at = struct.unpack('>I2c0I2c0', pairs_of, at)
  local key = prefix .. customer
  local list = key .. ':orders'
  local others = redis.call('LRANGE', list, 0, -1)
  local number, needed = nil, true
  if entry:byte(1) == 0 then
    local head = entry:sub(1, HEAD)
    number = add_touch(key, others, arrived + place, head, entry:sub(HEAD + 1))
    local touched = time_of(head)
    needed = number and order_within(others, touched, touched + lookback_ms)
  else
    number = add_other(list, others, arrived + place, entry)
  end
  if #others == 0 then
    redis.call('EXPIRE', key, touches_kept_s)
  else
    redis.call('EXPIRE', key, kept_s)
    redis.call('EXPIRE', list, kept_s)
  end
  if needed then
    answer[#answer + 1] = place
    answer[#answer + 1] = number and struct.pack('>I8', number) .. whole_log(key, others) or '-'
  end
  place = place + 1
end
return answer
