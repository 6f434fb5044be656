"""Examples of mappings for docs/mappings.md, each with rows and the events that they become.

A test reads the examples from the page, feeds the rows by the mapping, and compares the events.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class MappingExample(NamedTuple):
    """A mapping, the rows of a file, and their events.

    Args:
        title: what it is an example of.
        text: what is to be seen.
        mapping: the mapping file.
        rows: the file; NDJSON if it begins with a brace.
        events: a line of JSON for each event, without its id, the time as RFC 3339.
        refused: a line for each refused row, with why it is.
    """

    title: str
    text: str
    mapping: str
    rows: str
    events: str
    refused: str = ""


EXAMPLES: Final = (
    MappingExample(
        "One row, two events",
        "A row becomes an event of each entry whose condition it meets: here an order and, on the "
        "day it was paid back, its refund. Refunds are written as negative numbers. `&` and `*` "
        "are YAML's own way to write the same fields once.",
        """\
delimiter: ";"
numbers: {decimal: ",", thousands: "."}
time: {value: "{Ordered}", format: "%d.%m.%Y %H:%M", zone: Europe/Berlin}
events:
  - type: order_placed
    when: {Status: [paid, refunded]}
    fields: &order
      user_id: "{Customer}"
      order_id: "{Order}"
      amount: "{Total}"
      currency: EUR
  - type: order_refunded
    when: {Status: refunded}
    time: {value: "{Refunded}", format: "%d.%m.%Y", zone: Europe/Berlin}
    fields: {<<: *order, amount: {value: "{Refund}", absolute: true}}""",
        """\
Ordered;Customer;Order;Status;Total;Refund;Refunded
25.11.2026 15:17;C7;R1;paid;1.234,56 €;;
25.11.2026 15:20;C8;R2;refunded;12,50 €;-10,00 €;27.11.2026
25.11.2026 15:21;C9;R3;cancelled;99,00 €;;
25.11.2026 15:22;C9;R4;paid;12.50;;""",
        """\
{"type": "order_placed", "event_time": "2026-11-25T14:17:00Z", "amount": "1234.56", \
"currency": "EUR", "order_id": "R1", "user_id": "C7"}
{"type": "order_placed", "event_time": "2026-11-25T14:20:00Z", "amount": "12.50", \
"currency": "EUR", "order_id": "R2", "user_id": "C8"}
{"type": "order_refunded", "event_time": "2026-11-26T23:00:00Z", "amount": "10.00", \
"currency": "EUR", "order_id": "R2", "user_id": "C8"}""",
        "line 5: amount: '12.50' is no number; if the point groups thousands, set "
        "numbers.thousands in the mapping",
    ),
    MappingExample(
        "Filters",
        "Every column of a condition must fit. Of a list of conditions, one must. Rows of "
        "`leave_out` are no events at all.",
        """\
time: {value: "{at}", format: epoch_s}
leave_out:
  - {visitor: {glob: ["bot-*", "test?"]}}
  - {seconds: {below: 1}}
events:
  - type: click
    when: {page: {regex: "/(sale|new)/.*"}, visitor: {empty: false}}
    fields: {user_id: "{visitor}", page: "{page}"}
  - type: visit
    when: [{page: {not: {glob: "/admin*"}}, seconds: {at_least: 5}}, {kind: visit}]
    fields: {user_id: "{visitor}"}""",
        """\
at,visitor,page,seconds,kind
1795612678,u1,/sale/shoes,3,
1795612679,bot-7,/sale/shoes,9,
1795612680,u2,/admin/users,9,
1795612681,,/about,5,
1795612682,u3,/admin,2,visit""",
        """\
{"type": "click", "event_time": "2026-11-25T13:17:58Z", "page": "/sale/shoes", "user_id": "u1"}
{"type": "visit", "event_time": "2026-11-25T13:18:01Z"}
{"type": "visit", "event_time": "2026-11-25T13:18:02Z", "user_id": "u3"}""",
    ),
    MappingExample(
        "Links, splits, tables and null words",
        "`google / cpc` has two parts, and the campaign is a parameter of a link. `(not set)` is "
        "no value. A table translates values; one that it does not have refuses its row, unless a "
        "pattern fits or `keep_others` is set.",
        """\
nulls: ["(not set)", "-"]
time: {value: "{Date} {Time}", format: "%Y-%m-%d %H:%M:%S", zone: UTC}
events:
  - type: click
    fields:
      user_id: "{Visitor}"
      campaign: {value: "{Landing page}", query: utm_campaign, default: brand}
      channel:
        value: "{Source / Medium}"
        split: "/"
        part: 2
        lookup: {cpc: search, "e*mail": email, organic: null}
      region: {value: "{Country}", case: upper, keep_others: true, lookup: {DEU: DE}}""",
        """\
Date,Time,Visitor,Source / Medium,Landing page,Country
2026-11-25,14:17:58,v1,google / cpc,https://s.example/a?x=1&utm_campaign=Black+Friday,deu
2026-11-25,14:17:59,v2,news / e-mail,https://s.example/,-
2026-11-25,14:18:00,-,google / organic,(not set),fr
2026-11-25,14:18:01,v4,bing / display,,fr""",
        """\
{"type": "click", "event_time": "2026-11-25T14:17:58Z", "campaign": "Black Friday", \
"channel": "search", "region": "DE", "user_id": "v1"}
{"type": "click", "event_time": "2026-11-25T14:17:59Z", "campaign": "brand", \
"channel": "email", "user_id": "v2"}
{"type": "click", "event_time": "2026-11-25T14:18:00Z", "campaign": "brand", "region": "FR"}""",
        "line 5: channel: 'display' is not in its lookup table; known: cpc, e*mail, organic; add "
        "it, a pattern, or keep_others: true",
    ),
    MappingExample(
        "E-mail addresses that do not leave",
        "The hash is keyed, so nobody can try addresses without the key. Use the same key and the "
        "same helpers for all files, so that a customer has one id in all of them. The key of "
        "this example is `a key of sixteen characters`.",
        """\
time: {value: "{at}"}
events:
  - type: registration
    fields: {user_id: {value: "{mail}", case: lower, hash: true}}""",
        """\
at,mail
2026-11-25T15:17:58+01:00,Anna@shop.example""",
        """\
{"type": "registration", "event_time": "2026-11-25T14:17:58Z", \
"user_id": "be084eeb1b5ff050a5430cb151180a37"}""",
    ),
    MappingExample(
        "A log without order ids",
        "`{event_id}` is the id that the event gets. It is a hash of what the event says, so two "
        "equal rows need a number, too: each of the three rows is an order of its own, and a "
        "corrected file gives the rows that were not corrected the same ids.",
        """\
delimiter: whitespace
columns: [customer, date, dollars]
time: {value: "{date}", format: "%Y%m%d", zone: America/New_York}
events:
  - type: order_placed
    fields: {user_id: "{customer}", order_id: "{event_id}", amount: "{dollars}", currency: USD}""",
        """\
00001 19970101  11.77
00002 19970112  12.00
00002 19970112  12.00""",
        """\
{"type": "order_placed", "event_time": "1997-01-01T05:00:00Z", "amount": "11.77", \
"currency": "USD", "order_id": "5658150b5cc199078da27014", "user_id": "00001"}
{"type": "order_placed", "event_time": "1997-01-12T05:00:00Z", "amount": "12.00", \
"currency": "USD", "order_id": "59bd6077e49b4d1f1e87711d", "user_id": "00002"}
{"type": "order_placed", "event_time": "1997-01-12T05:00:00Z", "amount": "12.00", \
"currency": "USD", "order_id": "59bd6077e49b4d1f1e87711d-2", "user_id": "00002"}""",
    ),
    MappingExample(
        "NDJSON, and amounts in cents",
        "`{customer.id}` is the `id` of the object `customer`.",
        """\
time: {value: "{created}", format: epoch_s}
events:
  - type: order_placed
    when: {livemode: "true"}
    fields:
      user_id: "{customer.id}"
      order_id: "{id}"
      amount: {value: "{amount}", divide: 100}
      currency: {value: "{currency}", case: upper}""",
        """\
{"id": "ch_1", "created": 1795612678, "amount": 1999, "currency": "eur", "livemode": true, \
"customer": {"id": "cus_1"}}
{"id": "ch_2", "created": 1795612679, "amount": 500, "currency": "eur", "livemode": false}""",
        """\
{"type": "order_placed", "event_time": "2026-11-25T13:17:58Z", "amount": "19.99", \
"currency": "EUR", "order_id": "ch_1", "user_id": "cus_1"}""",
    ),
    MappingExample(
        "Daily spend",
        "A cost with a `period` is spread over it. `date` writes the day as the event needs it. "
        "The rows are in the order of campaigns, and are sorted by time before they are sent.",
        """\
numbers: {signs: [EUR]}
time: {value: "{Day}", format: "%d/%m/%Y", zone: Europe/Berlin}
events:
  - type: spend_reported
    when: {Cost: {above: 0}}
    fields:
      campaign_id: "{Campaign}"
      amount: "{Cost}"
      currency: EUR
      channel: search
      period: {value: "{Day}", date: "%d/%m/%Y"}""",
        """\
Campaign,Day,Cost
brand,26/11/2026,EUR 30.00
broad,25/11/2026,12.10 EUR
broad,26/11/2026,0""",
        """\
{"type": "spend_reported", "event_time": "2026-11-24T23:00:00Z", "amount": "12.10", \
"campaign_id": "broad", "channel": "search", "currency": "EUR", "period": "2026-11-25"}
{"type": "spend_reported", "event_time": "2026-11-25T23:00:00Z", "amount": "30.00", \
"campaign_id": "brand", "channel": "search", "currency": "EUR", "period": "2026-11-26"}""",
    ),
)

FAULTY_MAPPING: Final = """\
delimeter: ";"
time: {value: "{Ordered}", format: "%d.%m.%Y %H:%M"}
events:
  - type: order_placed
    when: {Status: "paid*"}
    fields: {userid: "{Customer}", order_id: "{Order}", amount: "{Total}"}
  - type: order_refund
    fields: {order_id: {value: "{Order}", splt: "-"}}
"""
"""A mapping with many faults, whose messages are on the page."""

FAULTY_FILE: Final = (
    """\
time: {value: "{Ordred}", format: "%d.%m.%Y %H:%M", zone: Europe/Berlin}
events:
  - {type: click, when: {Stat: paid}, fields: {user_id: "{Customer}"}}
""",
    "Ordered,Customer,Status\n25.11.2026 15:17,C7,paid\n",
)
"""A mapping and a file that it does not fit."""
