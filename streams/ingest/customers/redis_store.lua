-- Adds entries to the logs of customers. Returns the log of each customer for whom an entry may
-- change what is counted.
--
-- A customer's log has three keys: a hash of touches (clicks) at prefix .. customer, a list of
-- orders and refunds at prefix .. customer .. ':orders', and a list of links to other ids at
-- prefix .. customer .. ':links'. An id that customers are linked to has a set of these customers
-- at prefix .. id .. ':linked'. An entry is its head of 19 bytes (kind, partition, offset, time)
-- and a body. It is stored with its number in the order of arrival, in 8 bytes. The head identifies
-- an entry: an entry with the same head is not added again.
--
-- KEYS[1]: a hash with one field, the mark, for each source that has entries in this Redis. Its
--   field 'arrived' counts entries. While the logs are rebuilt, its field 'anew' holds the token
--   of the process that rebuilds them. Its field 'links' is set once there is a link. Its fields
--   'settled/0', 'settled/1' … have the event time up to which the orders of each partition are
--   settled, in ms.
-- ARGV[1]: prefix of the keys of logs
-- ARGV[2]: the source
-- ARGV[3]: the mode. '1': the source must have its mark. A longer text: the token of a rebuild.
--   '': the source gets its mark.
-- ARGV[4]: seconds for which a log with orders is kept
-- ARGV[5]: seconds for which a log without orders is kept
-- ARGV[6]: lookback in ms: how long before an order a touch counts
-- ARGV[7]: event time up to which the orders of the source's partition are settled, in ms
-- ARGV[8]: largest number of touches in a log
-- ARGV[9]: largest number of orders and refunds in a log; versions of one order count once
-- ARGV[10]: largest number of entries of orders and refunds in a log
-- ARGV[11]: number of pairs in ARGV[12]
-- ARGV[12]: pairs of customer and entry, each as a length of two bytes and the bytes
-- ARGV[13]: largest number of links of a customer, and of customers that are linked to one id
-- ARGV[14]: number of partitions
--
-- Returns a flat list. Its first item is the number of entries that full logs did not take. Then
-- there are three items for each order or refund, for each touch of a customer, or of an id that the
-- customer is linked to, with an order within its lookback, and for each link with an order after
-- it: the place of the entry among the pairs, from 0, the customer, and the entry's number in 8
-- bytes followed by the customer's whole log. Each entry of the log is its length in 2 bytes, its
-- number, its head and its body. A touch of a linked id is an entry of kind 4, and its body begins
-- with that id. For an order or refund that is not kept the third item is '-'. For a version of an
-- order in the log that is not kept there are no items, because it changes nothing.
--
-- Example: the log of customer A has a click at 12:00, customer B is new. The pairs are (A, order
-- at 12:10) and (B, click at 12:11). The answer has one place, 0, with A's click and order. B's
-- click is stored, but no order depends on it.
--
-- Example: customer A is linked to the id C since 12:00 and ordered at 12:10. The pair is (C, click
-- at 12:05). The answer has the place 0 with A and A's log: link, order and the click of C.
local call, pack, unpack = redis.call, struct.pack, struct.unpack
local prefix, source, mode, kept_s, touches_kept_s = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local lookback_ms, settled_ms = tonumber(ARGV[6]), tonumber(ARGV[7])
local most_touches, most_orders = tonumber(ARGV[8]), tonumber(ARGV[9])
local most_entries, how_many, pairs_of = tonumber(ARGV[10]), tonumber(ARGV[11]), ARGV[12]
local most_links, partitions = tonumber(ARGV[13]), tonumber(ARGV[14])
local NUMBER, HEAD, ID, TRIM_EVERY = 8, 19, 8, 8
local TOUCH, ORDER, LINK, LINKED_TOUCH = 0, 1, 3, 4
local FOREVER_MS = 2 ^ 52

local anew = call('HGET', KEYS[1], 'anew')
if #mode > 1 then
  if anew ~= mode then return redis.error_reply('ANEW by somebody else') end
elseif anew then
  return redis.error_reply('ANEW logs are being made anew')
elseif mode == '1' then
  if call('HEXISTS', KEYS[1], source) == 0 then
    return redis.error_reply('EMPTIED the mark is gone')
  end
else
  call('HSET', KEYS[1], source, '1')
end

call('HSET', KEYS[1], 'settled/' .. string.match(source, '%d*$'), ARGV[7])
local any_links = call('HEXISTS', KEYS[1], 'links') == 1

-- Returns the event time before which no order comes that could look back to a touch. Once there
-- are links, orders of any partition may. A full log is trimmed by its own partition all the same.
local function settled_before(full)
  local before = settled_ms
  for n = 0, any_links and not full and partitions - 1 or -1 do
    before = math.min(before, tonumber(call('HGET', KEYS[1], 'settled/' .. n) or 0))
  end
  return before
end

local function time_of(head) return (unpack('>I8', head, 12)) end
local function number_of(data) return (unpack('>I8', data)) end

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

local function orders_of(customer)
  return call('LRANGE', prefix .. customer .. ':orders', 0, -1)
end

local NONE = {}
-- Returns the customers that are linked to an id.
local function linked_to(id)
  return any_links and call('SMEMBERS', prefix .. id .. ':linked') or NONE
end

-- Removes touches that no order can look back to any more: they are older than the lookback of
-- all orders to come, and no order of the customer, or of one that is linked to the id, is within
-- their lookback.
local function trim(key, customer, own_orders, full)
  local before, all_orders = settled_before(full) - lookback_ms, { own_orders }
  for _, linked in ipairs(linked_to(customer)) do
    all_orders[#all_orders + 1] = orders_of(linked)
  end
  local heads = call('HKEYS', key)
  for n = 1, #heads do
    local at = time_of(heads[n])
    if at < before then
      local needed = false
      for k = 1, #all_orders do
        needed = needed or order_within(all_orders[k], at, at + lookback_ms)
      end
      if not needed then call('HDEL', key, heads[n]) end
    end
  end
end

-- Returns the number of the touch: the given number if it is new, its old number if it was added
-- before, nil if the log is full.
local function add_touch(key, customer, others, number, head, body)
  if call('HSETNX', key, head, pack('>I8', number) .. body) == 0 then
    return number_of(call('HGET', key, head))
  end
  local full = call('HLEN', key) > most_touches
  if full or number % TRIM_EVERY == 0 then trim(key, customer, others, full) end
  if full and call('HLEN', key) > most_touches then
    call('HDEL', key, head)
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
  others[#others + 1] = pack('>I8', number) .. entry
  call('RPUSH', list, others[#others])
  return number
end

local function links_of(customer)
  return any_links and call('LRANGE', prefix .. customer .. ':links', 0, -1) or NONE
end

-- Returns the other id of a link. Its body is an array of one, a byte, and the id as binary, which
-- has a header of two bytes.
local function other_id(entry) return entry:sub(HEAD + 4, HEAD + 3 + ID) end

-- Keeps a customer's links, and the touches of the linked ids, as long as the customer's orders.
local function keep_links(customer)
  for n, link in ipairs(links_of(customer)) do
    if n == 1 then call('EXPIRE', prefix .. customer .. ':links', kept_s) end
    local other = prefix .. other_id(link:sub(NUMBER + 1))
    call('EXPIRE', other, kept_s)
    call('EXPIRE', other .. ':linked', kept_s)
  end
end

-- Returns the number of the link: the given number if it is new, its old number if it was added
-- before; nil if an earlier link to the same id is known, or if the id or the customer has too many
-- links. Then also returns whether there are too many.
local function add_link(customer, number, entry)
  local key, other = prefix .. customer .. ':links', other_id(entry)
  local links, head = call('LRANGE', key, 0, -1), entry:sub(1, HEAD)
  for n = 1, #links do
    if links[n]:sub(NUMBER + 1, NUMBER + HEAD) == head then return number_of(links[n]) end
  end
  for n = 1, #links do
    local known = links[n]:sub(NUMBER + 1)
    if other_id(known) == other and time_of(known) <= time_of(head) then return nil, false end
  end
  local of_other = prefix .. other .. ':linked'
  if #links >= most_links then return nil, true end
  if call('SISMEMBER', of_other, customer) == 0
    and call('SCARD', of_other) >= most_links then return nil, true end
  call('RPUSH', key, pack('>I8', number) .. entry)
  call('SADD', of_other, customer)
  call('HSET', KEYS[1], 'links', '1')
  any_links = true
  return number
end

local function add_part(parts, entry)
  parts[#parts + 1] = pack('>I2', #entry)
  parts[#parts + 1] = entry
end

-- Returns all entries of a customer's log as one string, with the touches of linked ids.
local function whole_log(customer, others)
  local parts, linked = {}, {}
  local touches = call('HGETALL', prefix .. customer)
  for n = 1, #touches, 2 do
    local head, data = touches[n], touches[n + 1]
    add_part(parts, data:sub(1, NUMBER) .. head .. data:sub(NUMBER + 1))
  end
  for n = 1, #others do add_part(parts, others[n]) end
  for _, link in ipairs(links_of(customer)) do
    add_part(parts, link)
    linked[other_id(link:sub(NUMBER + 1))] = true
  end
  for id in pairs(linked) do
    local of_id = call('HGETALL', prefix .. id)
    for n = 1, #of_id, 2 do
      local head, data = string.char(LINKED_TOUCH) .. of_id[n]:sub(2), of_id[n + 1]
      add_part(parts, data:sub(1, NUMBER) .. head .. id .. data:sub(NUMBER + 1))
    end
  end
  return table.concat(parts)
end

local arrived = call('HINCRBY', KEYS[1], 'arrived', how_many) - how_many
local refused, answer, place, at = 0, { 0 }, 0, 1

local function add_answer(customer, number, others)
  answer[#answer + 1] = place
  answer[#answer + 1] = customer
  answer[#answer + 1] = number and pack('>I8', number) .. whole_log(customer, others) or '-'
end

while at <= #pairs_of do
  local customer, entry
  customer, entry, at = unpack('>I2c0I2c0', pairs_of, at)
  local key = prefix .. customer
  local list = key .. ':orders'
  local others, kind = orders_of(customer), entry:byte(1)
  local happened = time_of(entry)
  local linked, number = NONE, nil
  if kind == TOUCH then
    local head = entry:sub(1, HEAD)
    number = add_touch(key, customer, others, arrived + place, head, entry:sub(HEAD + 1))
    linked = linked_to(customer)
    if not number then
      refused = refused + 1
    elseif #others > 0 and order_within(others, happened, happened + lookback_ms) then
      add_answer(customer, number, others)
    end
    for n = 1, number and #linked or 0 do
      local orders = orders_of(linked[n])
      if order_within(orders, happened, happened + lookback_ms) then
        add_answer(linked[n], number, orders)
      end
    end
  elseif kind == LINK then
    local full
    number, full = add_link(customer, arrived + place, entry)
    if full then refused = refused + 1 end
    if number and order_within(others, happened, FOREVER_MS) then
      add_answer(customer, number, others)
    end
    keep_links(customer)
  else
    local known
    number, known = add_other(list, others, arrived + place, entry)
    if not number then refused = refused + 1 end
    if number or not known then add_answer(customer, number, others) end
    keep_links(customer)
  end
  if #others == 0 and #linked == 0 then
    call('EXPIRE', key, touches_kept_s)
  else
    call('EXPIRE', key, kept_s)
    call('EXPIRE', list, kept_s)
  end
  place = place + 1
end
answer[1] = refused
return answer
