-- Adds entries to the logs of customers and returns the logs that orders depend on.
-- KEYS[1]: the mark that says that logs are kept here: 1, or 'anew' while they are made anew.
-- ARGV: prefix of the keys of logs | '1' if the mark must be there, 'anew' to make logs anew,
--   or neither | seconds a log is
--   kept | lookback in ms | up to when orders are settled, ms | most entries of a log |
--   pairs of customer and entry, each two bytes of length and the bytes.
-- An entry that is there already is not added again: it is found by its head of 19
-- bytes: kind, partition, offset, time. Returns by pair: nothing for an entry that
-- changes nothing, or the log up to that entry, in order of arrival.
local prefix, kept_s, lookback_ms = ARGV[1], ARGV[3], tonumber(ARGV[4])
local settled_ms, most = tonumber(ARGV[5]), tonumber(ARGV[6])
local pairs_of = ARGV[7]
local TRIM_FROM = 32

local mark = redis.call('GET', KEYS[1])
if mark == 'anew' then
  if ARGV[2] ~= 'anew' then return redis.error_reply('ANEW logs are being made anew') end
elseif not mark then
  if ARGV[2] ~= '' then return redis.error_reply('EMPTIED the mark is gone') end
  redis.call('SET', KEYS[1], '1')
end

local function order_within(log, upto, from_ms, until_ms)
  for n = 1, upto do
    if log[n]:byte(1) == 1 then
      local at = struct.unpack('>I8', log[n], 12)
      if at >= from_ms and at <= until_ms then return true end
    end
  end
  return false
end

-- Touches that no order can look back to any more are of no use.
local function trim(key, log)
  local before = settled_ms - lookback_ms
  for n = 1, #log do
    local entry = log[n]
    if entry:byte(1) == 0 then
      local at = struct.unpack('>I8', entry, 12)
      if at < before and not order_within(log, #log, at, at + lookback_ms) then
        redis.call('LREM', key, 1, entry)
      end
    end
  end
end

local answer, at = {}, 1
while at <= #pairs_of do
  local customer, entry
  customer, entry, at = struct.unpack('>I2c0I2c0', pairs_of, at)
  local key = prefix .. customer
  local log = redis.call('LRANGE', key, 0, -1)
  local head, place = entry:sub(1, 19), 0
  for n = #log, 1, -1 do
    if log[n]:sub(1, 19) == head then place = n break end
  end
  local is_touch = entry:byte(1) == 0
  if place == 0 and not (is_touch and #log >= most) then
    redis.call('RPUSH', key, entry)
    log[#log + 1] = entry
    place = #log
    if place % TRIM_FROM == 0 then trim(key, log) end
  end
  redis.call('EXPIRE', key, kept_s)
  local needed = place > 0
  if needed and is_touch then
    local touched = struct.unpack('>I8', entry, 12)
    needed = order_within(log, place, touched, touched + lookback_ms)
  end
  if needed then
    local parts = {}
    for n = 1, place do parts[n] = struct.pack('>I2c0', #log[n], log[n]) end
    answer[#answer + 1] = table.concat(parts)
  else
    answer[#answer + 1] = ''
  end
end
return answer
