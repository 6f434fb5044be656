-- Adds entries to the logs of customers. Returns the log of each customer for whom an entry may
-- change what is counted.
--
-- A customer's log has two keys: a hash of touches (clicks) at prefix .. customer, and a list of
-- orders and refunds at prefix .. customer .. ':orders'. An entry is its head of 19 bytes (kind,
-- partition, offset, time) and a body. It is stored with its number in the order of arrival, in 8
-- bytes. The head identifies an entry: an entry with the same head is not added again.
--
-- KEYS[1]: a hash with one field, the mark, for each source that has entries in this Redis. Its
--   field 'arrived' counts entries. While the logs are rebuilt, its field 'anew' holds the token
--   of the process that rebuilds them.
-- ARGV[1]: prefix of the keys of logs
-- ARGV[2]: the source
-- ARGV[3]: the mode. '1': the source must have its mark. A longer text: the token of a rebuild.
--   '': the source gets its mark.
-- ARGV[4]: seconds for which a log with orders is kept
-- ARGV[5]: seconds for which a log without orders is kept
-- ARGV[6]: lookback in ms: how long before an order a touch counts
-- ARGV[7]: event time up to which orders are settled, in ms
-- ARGV[8]: largest number of touches in a log
-- ARGV[9]: largest number of orders and refunds in a log; versions of one order count once
-- ARGV[10]: largest number of entries of orders and refunds in a log
-- ARGV[11]: number of pairs in ARGV[12]
-- ARGV[12]: pairs of customer and entry, each as a length of two bytes and the bytes
--
-- Returns a flat list with two items for each order or refund, and for each touch with an order
-- within its lookback: the place of the entry among the pairs, from 0, and the entry's number in 8
-- bytes followed by the whole log. Each entry of the log is its length in 2 bytes, its number, its
-- head and its body. For an order or refund that is not kept the second item is '-'. For a version
-- of an order in the log that is not kept there are no items, because it changes nothing.
--
-- Example: the log of customer A has a click at 12:00, customer B is new. The pairs are (A, order
-- at 12:10) and (B, click at 12:11). The answer has one place, 0, with A's click and order. B's
-- click is stored, but no order depends on it.
local prefix, source, mode, kept_s, touches_kept_s = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local lookback_ms, settled_ms = tonumber(ARGV[6]), tonumber(ARGV[7])
local most_touches, most_orders = tonumber(ARGV[8]), tonumber(ARGV[9])
local most_entries, how_many, pairs_of = tonumber(ARGV[10]), tonumber(ARGV[11]), ARGV[12]
local NUMBER, HEAD, TRIM_EVERY = 8, 19, 8
local ORDER = 1

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

-- Returns whether an order's time is from from_ms to until_ms, both included.
local function order_within(others, from_ms, until_ms)
  for n = 1, #others do
    local head = others[n]:sub(NUMBER + 1, NUMBER + HEAD)
    if head:byte(1) == ORDER then
      local at = time_of(head)
      if at >= from_ms and at <= until_ms then return true end
    end
  end
  return false
end

-- Removes touches that no order can look back to any more: they are older than the lookback of
-- all orders to come, and no order of the log is within their lookback.
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

-- Returns the number of the touch: the given number if it is new, its old number if it was added
-- before, nil if the log is full.
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

-- Returns the hash of an order's id as its 9 bytes of MessagePack; nil for a refund. The body is an
-- array, whose header has one byte, and the hash its first element. A hash below 2^32 has fewer
-- bytes, so that the versions of one order in 4 billion count as orders of their own.
local function order_of(entry)
  return entry:byte(1) == ORDER and entry:sub(HEAD + 2, HEAD + 10) or nil
end

-- Returns whether a log takes no more orders and refunds, and whether it has the order of the entry.
local function fullness(others, entry)
  if #others < most_orders then return false, false end
  local versions, orders = 0, {}
  for n = 1, #others do
    local order = order_of(others[n]:sub(NUMBER + 1))
    if order then
      if orders[order] then versions = versions + 1 end
      orders[order] = true
    end
  end
  local known = orders[order_of(entry) or 0] or false
  local full = #others >= most_entries or (#others - versions >= most_orders and not known)
  return full, known
end

-- Returns the number of the order or refund: the given number if it is new, its old number if it
-- was added before, nil if the log is full. Then also returns whether the log has the order.
-- Searches from the newest entry.
local function add_other(list, others, number, entry)
  local head = entry:sub(1, HEAD)
  for n = #others, 1, -1 do
    if others[n]:sub(NUMBER + 1, NUMBER + HEAD) == head then return number_of(others[n]) end
  end
  local full, known = fullness(others, entry)
  if full then return nil, known end
  others[#others + 1] = struct.pack('>I8', number) .. entry
  redis.call('RPUSH', list, others[#others])
  return number
end

-- Returns all entries of a log as one string.
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
    local known
    number, known = add_other(list, others, arrived + place, entry)
    needed = number or not known
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
