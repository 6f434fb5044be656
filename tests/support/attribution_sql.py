"""Calculates in SQL what customers' orders and refunds count for, independently of the monitor.

Uses range joins and window functions over raw events, and shares no code with the monitor.

Example: a user clicks on ``search`` on day 1, on ``feed`` on day 2 and on ``email`` on day 3, and
orders for 100.00 on day 4, naming no campaign. The order has three touches:

- first touch: ``search`` gets the order and its revenue;
- last touch: ``email`` does;
- linear: ``search`` and ``feed`` get 3,333 parts of the order's 10,000, and ``email`` 3,334; the
  revenue is split in the same way;
- declared: ``(none)``, as the order says.

An event of the kind ``identity`` links the user to another id, ``same_as``. Clicks of that id are
touches of the user's orders from the time of the link on, too.

Orders of a user with the same id are versions of one order. It is placed as its first version says,
and has the amount and the items of its last. The versions in the currency of the first are
converted at its rate, and so are refunds in that currency. Each order of a guest is one of its own.
"""

from __future__ import annotations

from typing import Final, NamedTuple

DAY_MS: Final = 86_400_000
MODELS: Final = ("declared", "first", "last", "linear")
"""The attribution models."""
WHOLE: Final = 10_000
"""Parts of an order, so that a share of it is a whole number."""
RATE_UNITS: Final = 1_000_000
"""Units of a rate, so that it is a whole number: 7.28455 is 7,284,550."""


class Customers(NamedTuple):
    """The attribution settings of a deployment with customers.

    ``lookback_ms`` is the time before an order in which clicks are touches. ``model`` places the
    orders that name no campaign. Money that enters a pane later than ``corrected_for_ms`` after
    it need not correct closed windows.
    """

    lookback_ms: int = 7 * DAY_MS
    model: str = "last"
    corrected_for_ms: int = 15 * 60_000


FORGETFUL: Final = """
CREATE TABLE entries AS  -- without customers orders and refunds count where and when they say
SELECT *, NULL::BIGINT AS nth, event_time_ms AS known_ms FROM events
UNION ALL
SELECT * REPLACE ('refund_made' AS kind), NULL, event_time_ms FROM events WHERE kind = 'refund';
"""


def entries(customers: Customers | None) -> str:
    """Return the SQL that makes the table ``entries`` from the table ``events``.

    An entry is an event with the campaign, channel and time at which it counts. Orders of guests,
    who have no ``user_id``, count as they say, and no model credits them. Other orders have in
    ``nth`` their number among their customer's orders; of two at the same time the first is the
    one that was sent first, by ``place``. Credits have their model in ``metric`` and parts of an
    order in ``count``. ``known_ms`` is the time of the event that led to the entry.

    Args:
        customers: how orders are attributed; None without customers: orders and refunds then
            count where and when they say.
    """
    if customers is None:
        return FORGETFUL
    return f"""
CREATE MACRO half_even(n, d) AS n // d
  + (2 * (n % d) > d OR (2 * (n % d) = d AND (n // d) % 2 = 1))::HUGEINT;
CREATE MACRO at_rate(own, rate) AS half_even(own::HUGEINT * rate, {RATE_UNITS})::BIGINT;

CREATE TABLE versions AS  -- of orders; an order without an id is one of its own
WITH named AS (
  SELECT *, if(user_id IS NULL OR order_id IS NULL, 'unnamed ' || row_number() OVER (), order_id)
           AS of_order
  FROM events WHERE kind = 'order'),
numbered AS (
  SELECT *, row_number() OVER in_time AS version, first_value(currency) OVER in_time AS placed_in,
         first_value(rate) OVER in_time AS placed_at
  FROM named WINDOW in_time AS (PARTITION BY user_id, of_order ORDER BY event_time_ms))
SELECT * REPLACE (
  CASE WHEN currency = placed_in THEN at_rate(own, placed_at) ELSE amount END AS amount)
FROM numbered;

CREATE TABLE orders AS
SELECT first.* REPLACE (last.amount AS amount, last.count AS count),
       last.currency AS last_currency, last.rate AS last_rate,
       row_number() OVER (ORDER BY first.event_time_ms) AS no,
       CASE WHEN first.user_id IS NOT NULL  -- guests are no customers
         THEN row_number() OVER (
           PARTITION BY first.user_id ORDER BY first.event_time_ms, first.place) END AS nth
FROM versions AS first JOIN (
  FROM versions QUALIFY
    row_number() OVER (PARTITION BY user_id, of_order ORDER BY version DESC) = 1) AS last
  ON first.of_order = last.of_order AND first.user_id IS NOT DISTINCT FROM last.user_id
WHERE first.version = 1;

CREATE TABLE ids AS  -- whose clicks are touches of a user's orders, and from when on
SELECT DISTINCT user_id, user_id AS id, 0 AS since_ms FROM events WHERE user_id IS NOT NULL
UNION ALL
SELECT user_id, same_as, min(event_time_ms) FROM events WHERE kind = 'identity' GROUP BY ALL;

CREATE TABLE touches AS  -- touch i of n of each order
SELECT no, click.campaign, click.channel, count(*) OVER (PARTITION BY no) AS n,
       row_number() OVER (PARTITION BY no ORDER BY click.event_time_ms) - 1 AS i
FROM orders JOIN ids ON ids.user_id = orders.user_id AND ids.since_ms <= orders.event_time_ms
JOIN events AS click
  ON click.kind = 'click' AND click.user_id = ids.id
  AND click.event_time_ms BETWEEN orders.event_time_ms - {customers.lookback_ms}
                              AND orders.event_time_ms;

CREATE TABLE placed AS
SELECT orders.* REPLACE (
  CASE WHEN orders.campaign <> '(none)' OR nth IS NULL OR {_DECLARES[customers.model]}
    THEN orders.campaign ELSE coalesce(touches.campaign, '(none)') END AS campaign,
  CASE WHEN orders.campaign <> '(none)' OR orders.channel <> '(none)' OR nth IS NULL
      OR {_DECLARES[customers.model]}
    THEN orders.channel ELSE coalesce(touches.channel, '(direct)') END AS channel)
FROM orders LEFT JOIN touches ON touches.no = orders.no AND {_PLACING[customers.model]};

CREATE MACRO part(whole, i, n) AS (i + 1) * whole // n - i * whole // n;
CREATE TABLE credits AS
SELECT no, 'declared' AS model, campaign, channel, {WHOLE} AS parts, amount FROM orders
WHERE nth IS NOT NULL
UNION ALL
SELECT no, model, touches.campaign, touches.channel,
       CASE WHEN model = 'linear' THEN part({WHOLE}, i, n) ELSE {WHOLE} END,
       CASE WHEN model = 'linear' THEN part(amount, i, n) ELSE amount END
FROM touches JOIN orders USING (no), (VALUES ('first'), ('last'), ('linear')) AS models(model)
WHERE model = 'linear' OR i = (CASE model WHEN 'first' THEN 0 ELSE n - 1 END)
UNION ALL
SELECT no, model, '(none)', '(direct)', {WHOLE}, amount
FROM orders, (VALUES ('first'), ('last'), ('linear')) AS models(model)
WHERE no NOT IN (SELECT no FROM touches) AND nth IS NOT NULL;

CREATE TABLE refunds AS  -- at their order's place and rate, if they are of one
WITH found AS (
SELECT refund.* REPLACE (
         coalesce(placed.campaign, refund.campaign) AS campaign,
         coalesce(placed.channel, refund.channel) AS channel,
         coalesce(placed.region, refund.region) AS region,
         coalesce(placed.segment, refund.segment) AS segment),
       placed.event_time_ms AS ordered_ms,
       CASE refund.currency WHEN placed.currency THEN placed.rate
                            WHEN placed.last_currency THEN placed.last_rate END AS order_rate
FROM events AS refund LEFT JOIN placed
  ON refund.user_id = placed.user_id AND refund.order_id = placed.order_id
WHERE refund.kind = 'refund'),
added_up AS (  -- what was paid back of the order in the same currency, with and without this refund
  SELECT *, sum(own) OVER (PARTITION BY user_id, order_id, currency ORDER BY event_time_ms) AS upto
  FROM found)
SELECT *, CASE WHEN order_rate IS NULL THEN amount
               ELSE at_rate(upto, order_rate) - at_rate(upto - own, order_rate) END AS taken_back
FROM added_up;

CREATE TABLE entries AS
SELECT *, event_time_ms AS known_ms FROM events WHERE kind NOT IN ('order', 'refund', 'identity')
UNION ALL BY NAME
SELECT * EXCLUDE (no), event_time_ms AS known_ms FROM placed
UNION ALL BY NAME
SELECT 'credit' AS kind, event_time_ms, credits.campaign, credits.channel, region, segment,
       model AS metric, parts AS count, credits.amount, event_time_ms AS known_ms
FROM credits JOIN orders USING (no)
UNION ALL BY NAME
SELECT 'touched' AS kind, * EXCLUDE (no, kind), event_time_ms AS known_ms
FROM placed WHERE no IN (SELECT no FROM touches)
UNION ALL BY NAME
SELECT * EXCLUDE (ordered_ms)
         REPLACE (coalesce(ordered_ms, event_time_ms) AS event_time_ms, taken_back AS amount),
       event_time_ms AS known_ms
FROM refunds
UNION ALL BY NAME
SELECT * EXCLUDE (ordered_ms) REPLACE ('refund_made' AS kind), event_time_ms AS known_ms
FROM refunds
UNION ALL BY NAME  -- each version of an order after its first
SELECT 'order_change' AS kind, placed.event_time_ms, placed.campaign, placed.channel, placed.region,
       placed.segment, versions.event_time_ms AS known_ms
FROM versions JOIN placed USING (user_id, of_order) WHERE versions.version > 1
UNION ALL BY NAME  -- what each version of an order and each refund adds, booked at the first order
SELECT 'lifetime' AS kind, first.event_time_ms, first.campaign, first.channel, first.region,
       first.segment, money.amount, known_ms
FROM (SELECT user_id, event_time_ms AS known_ms, amount - lag(amount, 1, 0)
                OVER (PARTITION BY user_id, of_order ORDER BY version) AS amount
      FROM versions
      UNION ALL BY NAME
      SELECT user_id, event_time_ms AS known_ms, -taken_back AS amount FROM refunds
                WHERE ordered_ms IS NOT NULL) AS money
JOIN placed AS first ON first.user_id = money.user_id AND first.nth = 1;
"""


_DECLARES: Final = {"declared": "true", "first": "false", "last": "false", "linear": "false"}
_PLACING: Final = {
    "declared": "false",
    "first": "i = 0",
    "last": "i = n - 1",
    "linear": "i = n - 1",
}
"""By model: SQL of the touch that places an order which names no campaign."""
