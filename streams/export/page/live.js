import en from './texts_en.js';
import zh from './texts_zh.js';

const STALE_S = 5,
  WATCHDOG_S = 15,
  HOUR_S = 3600,
  OLD_S = 86400,
  DASH = '—';
const T = { en, zh };
/** @type {(id: string) => any} */
const $ = (id) => document.getElementById(id);
const store = {
  get(k) {
    try {
      return localStorage.getItem(k);
    } catch {
      return null;
    }
  },
  set(k, v) {
    try {
      localStorage.setItem(k, v);
    } catch { /* private mode */ }
  },
};
let lang = store.get('kpi.lang');
if (lang !== 'zh' && lang !== 'en') lang = /^zh/i.test(navigator.language || '') ? 'zh' : 'en';
let everything = false,
  win = store.get('kpi.window') || '5m',
  sort = { col: 'revenue_gross', dir: -1 },
  data = null,
  meta = new Map();
const t = (k, ...a) => String(T[lang][k] ?? k).replace(/\{(\d)\}/g, (_, i) => a[i]);
const tx = (k) => k == null ? DASH : t(k);
const num = (v) => typeof v === 'number' && Number.isFinite(v);
const arr = (v) => Array.isArray(v) ? v : [], obj = (v) => v && typeof v === 'object' ? v : {};
const pick = (o, base) =>
  o[base + '_' + lang] || o[base + '_' + (lang === 'zh' ? 'en' : 'zh')] || o[base] || '';
const put = (n, s) => {
  s = String(s);
  if (n.textContent !== s) n.textContent = s;
};
const attr = (n, k, v) => {
  if (v == null || v === false) { if (n.hasAttribute(k)) n.removeAttribute(k); }
  else if (n.getAttribute(k) !== String(v)) n.setAttribute(k, v === true ? '' : v);
};
const show = (n, on) => {
  if (n.hidden === on) n.hidden = !on;
};
const el = (tag, cls, ...kids) => {
  const n = document.createElement(tag);
  if (cls) n.className = cls;
  n.append(...kids);
  return n;
};

// ---- formatting
const cache = new Map();
const intl = (C, o) => {
  const k = C.name + lang + JSON.stringify(o);
  if (!cache.has(k)) cache.set(k, new C(lang === 'zh' ? 'zh-CN' : 'en', o));
  return cache.get(k);
};
function fnum(v, o, digits, min) { // a value that is not zero is never printed as zero
  if (!num(v)) return DASH;
  v = v || 0;
  const floor = (o.style === 'percent' ? .005 : .5) / 10 ** digits;
  return intl(
    Intl.NumberFormat,
    v !== 0 && Math.abs(v) < floor
      ? { ...o, maximumSignificantDigits: 2 }
      : { ...o, minimumFractionDigits: min ?? digits, maximumFractionDigits: digits },
  ).format(v);
}
function money(v) {
  const d = Math.abs(v) < 1e5 ? 2 : 0, o = Math.abs(v) >= 1e9 ? { notation: 'compact' } : {};
  try {
    return fnum(v, {
      ...o,
      style: 'currency',
      currency: data.currency,
      currencyDisplay: 'narrowSymbol',
    }, o.notation ? 2 : d);
  } catch {
    return fnum(v, o, o.notation ? 2 : d);
  }
}
function fmt(unit, v) {
  if (!num(v)) return DASH;
  if (unit === 'multiple') return fnum(v, {}, 2) + '×';
  if (unit === 'ratio') return fnum(v, { style: 'percent' }, 2);
  if (unit === 'money') return money(v);
  if (unit === 'seconds') return fnum(v, {}, v < 10 ? 2 : 1) + ' s';
  return unit === 'count' || unit === 'users'
    ? fnum(v, Math.abs(v) >= 1e9 ? { notation: 'compact' } : {}, Math.abs(v) >= 1e9 ? 2 : 0)
    : plain(v);
}
const plain = (v) =>
  !num(v)
    ? DASH
    : Math.abs(v) >= 100
    ? fnum(v, {}, 1, 0)
    : intl(Intl.NumberFormat, { maximumSignificantDigits: 4 }).format(v || 0);
const int = (v) => fnum(v, {}, 0);
function dur(s) {
  if (!num(s)) return DASH;
  s = Math.max(0, Math.floor(s));
  const u = lang === 'zh' ? [' 秒', ' 分', ' 小时', ' 天'] : [' s', ' min', ' h', ' d'],
    p = (a, i, b, j) => a + u[i] + (b ? ' ' + b + u[j] : '');
  return s < 60
    ? s + u[0]
    : s < 3600
    ? p(Math.floor(s / 60), 1, s % 60, 0)
    : s < 86400
    ? p(Math.floor(s / 3600), 2, Math.floor(s % 3600 / 60), 1)
    : p(Math.floor(s / 86400), 3, Math.floor(s % 86400 / 3600), 2);
}
function clock(ms) {
  if (!num(ms)) return DASH;
  const now = new Date(data && num(data.now) ? data.now : Date.now()),
    then = new Date(ms),
    sameDay = then.toDateString() === now.toDateString(),
    sameYear = then.getFullYear() === now.getFullYear();
  return intl(Intl.DateTimeFormat, {
    ...(sameDay
      ? {}
      : sameYear
      ? { month: '2-digit', day: '2-digit' }
      : { year: 'numeric', month: '2-digit', day: '2-digit' }),
    hour: '2-digit',
    minute: '2-digit',
    second: '2-digit',
    hourCycle: 'h23',
  }).format(ms);
}
const cell = (windows, name) => obj(obj(obj(windows)[win])[name]);
const title = (name) => {
  const m = meta.get(name);
  return m ? pick(m, 'title') || name : t(name);
};
const unit = (name) => obj(meta.get(name)).unit;
const bound = (name, v) =>
  unit(name) === 'money'
    ? fnum(
      v,
      Math.abs(v) >= 1e9 ? { notation: 'compact' } : {},
      Math.abs(v) < 1e5 || Math.abs(v) >= 1e9 ? 2 : 0,
    )
    : fmt(unit(name), v);
const range = (name, c) =>
  num(c.low) && num(c.high) ? bound(name, c.low) + '\u202f–\u202f' + bound(name, c.high) : '';
const interval = (name, c) => range(name, c) && t('ci', range(name, c));

// ---- what is usual of a value, of rules that learn it
const usually = (f, u) =>
  num(obj(u).expected)
    ? t('usually', f(u.expected), f(u.low), f(u.high)) +
      (u.windows > 1 ? t('overWindows', int(u.windows)) : '')
    : '';
const limited = (f, r, s) =>
  num(obj(s.usual).low) ? t('usualBand', f(s.usual.low), f(s.usual.high)) : pick(r, 'limit');

// ---- keyed children: nodes are kept between messages, so focus, hover and selection survive
function keyed(parent, items, key, make, fill) {
  const old = parent._keyed || (parent._keyed = new Map()), now = new Map();
  let at = parent.firstChild;
  for (const it of items) {
    const k = String(key(it));
    if (now.has(k)) continue;
    const n = old.get(k) || make(it);
    now.set(k, n);
    if (n === at) at = at.nextSibling;
    else parent.insertBefore(n, at);
    fill(n, it);
  }
  for (const [k, n] of old) if (!now.has(k)) n.remove();
  parent._keyed = now;
}
const say = (s) => {
  const box = $('announce');
  box.append(el('p', '', s));
  while (box.children.length > 5) box.firstChild.remove();
};

// ---- parts
function renderPhase() {
  const p = data.phase,
    r = data.recovery,
    n = $('phase'),
    bar = n.lastElementChild,
    rec = p === 'recovering' && r && num(r.done) && num(r.total) && r.total > 0;
  attr(n, 'data-phase', p || 'unknown');
  const pct = rec ? Math.max(0, Math.min(100, Math.floor(r.done / r.total * 100))) : 0;
  put(
    n.firstElementChild,
    tx(p) +
      (rec
        ? ` ${pct}% (${int(r.done)} / ${int(r.total)}, ${
          t('parts', int(r.partitions_done), int(r.partitions))
        }, ${int(r.per_second)}/s)`
        : ''),
  );
  show(bar, !!rec);
  bar.style.width = pct + '%';
}
// "26 Nov, day 2 of 3, 40 s left": of these, what is known.
function history(p, h) {
  const at = obj(p.history), parts = [];
  if (at.date) {
    const date = { month: 'short', day: 'numeric', timeZone: 'UTC' };
    parts.push(intl(Intl.DateTimeFormat, date).format(Date.parse(at.date)));
    parts.push(num(at.days) ? t('dayOf', int(at.day), int(at.days)) : t('day', int(at.day)));
  }
  if (num(at.left_seconds)) parts.push(t('timeLeft', dur(at.left_seconds)));
  if (h.lag_records > 0) parts.push(t('unread', int(h.lag_records)));
  return t('history', parts.join(t('comma')));
}
let deadSeen = [];
function renderHealth() {
  const h = obj(data.health), now = data.now, dl = $('completeness').querySelector('dl'), why = [];
  if (num(h.dead_letters)) deadSeen.push([now, h.dead_letters, h.events]);
  deadSeen = deadSeen.filter((d) => d[0] > now - 60000 && d[0] <= now);
  const up = deadSeen.length && num(h.dead_letters) ? h.dead_letters - deadSeen[0][1] : 0;
  const upShare = up > 0 ? up / Math.max(1, h.events - deadSeen[0][2]) : 0;
  const miss = num(h.sources_expected) && num(h.sources_reporting)
      ? h.sources_expected - h.sources_reporting
      : null,
    back = num(data.frontier) ? (now - data.frontier) / 1000 : null;
  const flag = (level, text) => {
    why.push([level, text]);
    return level;
  };
  const L = {}, limit = (k) => obj(obj(data.limits)[k]), lag = limit('lag_seconds');
  if (miss > 0) L.sources = flag('bad', t('missing', int(miss), int(h.sources_expected)));
  const p = obj(data.progress), reading = p.reading_history;
  if (reading) {
    flag('note', history(p, h));
  } else if (h.lag_seconds > lag.alert) L.lag = flag('bad', t('lagging', dur(h.lag_seconds)));
  else if (h.lag_seconds > lag.warning) L.lag = flag('warn', t('lagging', dur(h.lag_seconds)));
  if (
    arr(data.alerts).some((a) =>
      a && a.category === 'data_health' && a.state === 'firing' && !a.inhibited &&
      a.severity !== 'info'
    )
  ) flag('bad', t('dhAlert'));
  const all = !reading && !(p.windows_waiting > 0) && h.lag_seconds <= lag.warning;
  // After the end of a history, silence moves the frontier on at the pace of the clock.
  const idle = !(h.lag_records > 0) && p.event_pace >= 0.5 && p.event_pace < 2;
  const over = all && (back > OLD_S || (back > HOUR_S && idle));
  if (over) flag('note', t('historyRead', dur(back)));
  else if (back > limit('frontier_age_seconds').warning && !reading) {
    if (p.windows_waiting > 0 || p.event_pace >= 0.5) flag('note', history(p, h));
    else L.frontier = flag('warn', t('frontierOld', dur(back)));
  }
  if (back === null && h.lag_records > 0) flag('note', history(p, h));
  if (h.events_per_second === 0 && !reading && !over && !(p.windows_waiting > 0)) {
    L.eps = flag('warn', t('inflow'));
  }
  if (arr(h.waiting).length) flag('bad', t('waitsFor', arr(h.waiting).join('; ')));
  if (arr(h.silent).length) flag('bad', t('silent', arr(h.silent).join(', ')));
  if (upShare > limit('dead_letter_share').warning) L.dead = flag('warn', t('deadUp'));
  if (h.orders_with_touch === 0 && h.orders > limit('orders_without_touch').warning) {
    L.joined = flag('warn', t('unjoined', int(h.orders)));
  }
  if (data.phase !== 'running') flag('warn', t('notRunning'));
  if (miss === null || !num(h.lag_seconds)) flag('unknown', t('nothealth'));
  const state = ['bad', 'warn', 'unknown'].find((s) => why.some((w) => w[0] === s)) || 'ok';
  attr($('completeness'), 'data-state', state);
  put($('comp-state'), t('c_' + state));
  put($('comp-why'), why.map((w) => w[1]).join(lang === 'zh' ? '；' : '; '));
  const rows = [
    [
      'sources',
      num(h.sources_reporting) || num(h.sources_expected)
        ? `${int(h.sources_reporting)} / ${int(h.sources_expected)}`
        : DASH,
    ],
    [
      'lag',
      num(h.lag_seconds)
        ? (h.lag_seconds < 60
          ? fnum(h.lag_seconds, {}, 1) + (lang === 'zh' ? ' 秒' : ' s')
          : dur(h.lag_seconds))
        : DASH,
      num(h.lag_records) ? t('records', int(h.lag_records)) : '',
    ],
    ['frontier', clock(data.frontier), back === null ? '' : t('behind', dur(back))],
    ['eps', fnum(h.events_per_second, {}, 1), num(h.events) ? t('total', int(h.events)) : ''],
    ['dead', int(h.dead_letters), up > 0 ? t('rising', int(up)) : ''],
    ['late', int(h.late)],
    ['dup', int(h.duplicates)],
    ['guests', int(h.guests)],
    [
      'joined',
      num(h.orders_with_touch) ? fnum(100 * h.orders_with_touch, {}, 1) + ' %' : DASH,
      num(h.orders_with_touch) ? t('ofOrders', int(h.orders)) : '',
    ],
  ];
  keyed(dl, rows, (r) => r[0], (r) => {
    const n = el('div', '', el('dt'), el('dd', '', el('b'), el('small')));
    n.dataset.health = r[0];
    return n;
  }, (n, r) => {
    attr(n, 'data-level', L[r[0]]);
    put(n.firstChild, t(r[0]));
    put(n.lastChild.firstChild, r[1]);
    put(n.lastChild.lastChild, r[2] || '');
  });
}
function renderUnknown() { // names that nobody defined, with samples: a typing error is seen at once
  const by = obj(data.unknown), kinds = Object.keys(by).filter((k) => by[k].events > 0);
  show($('unknown'), kinds.length > 0);
  keyed($('unknown'), kinds, (k) => k, () => el('li', '', el('b'), el('span')), (n, k) => {
    n.dataset.kind = k;
    put(n.firstChild, `${t('u_' + k)}: ${t('inEvents', int(by[k].events))}`);
    put(n.lastChild, ' · ' + arr(by[k].samples).join(lang === 'zh' ? '、' : ', '));
  });
}
const SEV = ['critical', 'warning', 'info'], STATE = ['firing', 'pending', 'resolved'];
const rank = (list, v) => {
  const i = list.indexOf(v);
  return i < 0 ? list.length : i;
};
let alertStates = null;
const web = (url) => /^https?:\/\//.test(url || '') ? url : null;
// The figures of firing alerts in the chosen window, which are marked: by campaign and KPI.
let marked = new Map();
// Only figures of everything and of whole campaigns have a tile or a row.
const figure = (a) =>
  a.scope_kind === 'all' || a.scope_kind === 'campaign' ? `${a.campaign}/${a.kpi}` : null;
const hasFigure = (a) =>
  meta.has(a.kpi) && arr(data.windows).includes(a.window) &&
  (a.scope_kind === 'all' ||
    a.scope_kind === 'campaign' && arr(data.campaign_columns).includes(a.kpi) &&
      arr(data.campaigns).some((c) => c.campaign === a.campaign));
let sought = '';
function seek(node) {
  node.scrollIntoView({ block: 'center' });
  document.querySelectorAll('[data-sought]').forEach((n) => attr(n, 'data-sought', false));
  attr(node, 'data-sought', true);
}
function seekAlert() { // a link like #alert=ID leads to the alert's card, once it is there
  const id = new URLSearchParams(location.hash.slice(1)).get('alert') || '';
  if (!id || sought === id) return;
  const card = [...$('alerts').children].find((n) => n.dataset.alert === id);
  if (!card) return;
  sought = id;
  seek(card);
}
function showKpi(a) {
  win = a.window;
  everything = true;
  render();
  const shown = a.campaign
    ? [...$('campaigns').tBodies[0].rows].find((n) => n.dataset.campaign === a.campaign)
    : [...$('kpis').children].find((n) => n.dataset.kpi === a.kpi);
  if (shown) seek(shown);
}
function heldText(a) {
  const h = a.held, names = h.sources.map((s) => t('src_' + s)).join(lang === 'zh' ? '、' : ', ');
  return num(h.until)
    ? t('heldUntil', names, clock(h.since), clock(h.until))
    : t('heldSince', names, clock(h.since));
}
// KPI alerts are in event time, those about the data themselves in the clock's.
const nowOf = (alert) => alert.category === 'kpi' ? data.frontier : data.now;
// What else the limit of an alert follows from, by the kind of its rule.
function beside(a, f) {
  return [
    num(a.earlier) ? t('earlier', f(a.earlier)) : '',
    num(a.median) ? t('median', f(a.median)) : '',
    num(a.windows_broken) ? t('broken', int(a.windows_broken)) : '',
    num(a.exhausted) ? t('exhausted', clock(a.exhausted)) : '',
    usually(f, a.usual),
  ].join('');
}
function renderAlerts() {
  const list = arr(data.alerts).filter((a) => a && a.id != null).sort((a, b) =>
    Number(a.state === 'resolved') - Number(b.state === 'resolved') ||
    Number(!!a.inhibited) - Number(!!b.inhibited) ||
    rank(STATE, a.state) - rank(STATE, b.state) || rank(SEV, a.severity) - rank(SEV, b.severity) ||
    (b.since || 0) - (a.since || 0)
  );
  keyed($('alerts'), list, (a) => a.id, (a) => {
    const n = el(
      'li',
      '',
      el(
        'div',
        'tags',
        el('span', 'pill sev'),
        el('span', 'st'),
        el('span', 'pill inh'),
        el('span', 'cat'),
        el('span', 'scope'),
        el('span', 'rule'),
      ),
      el('div', 'sum'),
      el(
        'div',
        'facts',
        el('span', 'vs'),
        el('span', 'n'),
        el('span', 'since'),
        el('span', 'fired'),
      ),
      el('div', 'corr held'),
      el('div', 'corr fix'),
      el('div', 'corr note'),
      el('div', 'next who', el('b'), el('span')),
      el('div', 'next step', el('b'), el('span')),
      el('div', 'links', el('button', 'go'), el('a', 'board'), el('a', 'runbook')),
    );
    n.dataset.alert = a.id;
    n.querySelector('.go').type = 'button';
    n.querySelector('.go').addEventListener('click', () => showKpi(n._alert));
    n.querySelectorAll('a').forEach((link) => {
      link.target = '_blank';
      link.rel = 'noopener';
    });
    return n;
  }, (n, a) => {
    const q = (c) => n.querySelector('.' + c),
      m = meta.get(a.kpi),
      f = (v) => m || a.unit ? fmt(a.unit || m.unit, v) : plain(v);
    attr(n, 'data-severity', a.severity);
    attr(n, 'data-state', a.state);
    attr(n, 'data-category', a.category);
    attr(n, 'data-inhibited', String(!!a.inhibited));
    attr(n, 'data-held', String(!!a.held));
    n._alert = a;
    put(q('sev'), tx(a.severity));
    put(q('st'), tx(a.state));
    put(q('inh'), t(a.inhibited ? 'inhibited' : 'held'));
    show(q('inh'), !!a.inhibited || !!a.held);
    show(q('held'), !!a.held);
    put(
      q('held'),
      a.held ? heldText(a) + (a.state === 'pending' ? ' · ' + t('forWaits') : '') : '',
    );
    put(q('cat'), tx(a.category));
    put(q('scope'), a.scope || '');
    put(
      q('rule'),
      [a.rule, a.window && (T[lang]['w_' + a.window] || a.window)].filter(Boolean).join(' · '),
    );
    attr(q('rule'), 'title', pick(a, 'meaning'));
    put(q('sum'), pick(a, 'summary') || a.rule || DASH);
    put(
      q('since'),
      t('since', clock(a.since)) +
        (num(a.since) && num(nowOf(a)) && a.state !== 'resolved'
          ? ` (${dur((nowOf(a) - a.since) / 1000)})`
          : ''),
    );
    show(q('fired'), num(a.fired) && a.fired !== a.since);
    put(q('fired'), num(a.fired) ? t('firedAt', clock(a.fired)) : '');
    const cmp = num(a.value) && num(a.threshold)
        ? (a.value < a.threshold ? '<' : a.value > a.threshold ? '>' : '=')
        : '/',
      both = m && num(a.low) && num(a.high) ? ` (${interval(a.kpi, a)})` : '';
    put(
      q('vs'),
      `${m ? title(a.kpi) : t('value')} ${f(a.value)}${both}${
        // Of windows that are unusual together, no single value is beyond a limit.
        a.usual && !num(a.threshold) ? '' : ` ${cmp} ${t('threshold')} ${f(a.threshold)}`}${
        beside(a, f)
      }`,
    );
    put(q('n'), 'n = ' + int(a.n));
    show(q('n'), a.category === 'kpi');
    const note = a.ended && a.ended !== 'recovered'
      ? t('e_' + a.ended)
      : num(a.no_data_since) && a.state !== 'resolved'
      ? t('noDataSince', clock(a.no_data_since))
      : '';
    show(q('note'), !!note);
    put(q('note'), note);
    const c = a.correction;
    show(q('fix'), !!c);
    put(
      q('fix'),
      c
        ? t('correctedTo', f(c.from), f(c.to)) + ' – ' +
          t(c.holds === null ? 'notJudgeable' : c.holds ? 'wouldHold' : 'stillBroken')
        : '',
    );
    for (const [at, name, text] of [['who', 'owner', a.owner], ['step', 'next', step(a)]]) {
      show(q(at), !!text);
      put(
        q(at).firstChild,
        t(name === 'owner' ? 'responsible' : name) + (lang === 'zh' ? '：' : ': '),
      );
      put(q(at).lastChild, text || '');
    }
    show(q('go'), a.state !== 'resolved' && hasFigure(a));
    put(q('go'), t('showKpi'));
    for (const [at, url] of [['board', a.board_url], ['runbook', a.runbook_url]]) {
      show(q(at), !!web(url));
      attr(q(at), 'href', web(url));
      put(q(at), t('link_' + at));
    }
  });
  marked = new Map(
    list.filter((a) => a.state === 'firing' && !a.inhibited && a.window === win && figure(a))
      .reverse().map((a) => [figure(a), a.severity]),
  );
  const counts = obj(data.alert_counts),
    count = (s) => counts[s] || 0,
    inh = counts.inhibited || 0,
    more = obj(data.not_shown).alerts;
  show($('alerts-more'), more > 0);
  put($('alerts-more'), t('alertsMore', int(more)));
  put(
    $('alerts-count'),
    [...STATE.map((s) => ({ n: count(s), name: t(s) })), { n: inh, name: t('inhibited') }]
      .filter((x) => x.n).map((x) => x.n + ' ' + x.name.toLowerCase()).join(' · '),
  );
  show($('alerts-empty'), !list.length);
  put(
    $('alerts-empty'),
    Array.isArray(data.alerts)
      ? t('noAlerts') + (data.phase === 'running' ? '' : ' · ' + $('phase').textContent)
      : DASH,
  );
  const firing = count('firing');
  document.title = (firing ? `(${firing}) ` : '') + t('product');
  // Announce only what changed: the ticking figures would drown a screen reader.
  for (const a of list) {
    if (
      a.inhibited || (alertStates ? alertStates.get(a.id) === a.state : a.state !== 'firing') ||
      (alertStates && !alertStates.has(a.id) && a.state === 'resolved')
    ) continue;
    say(
      `${tx(a.severity)}, ${tx(a.state)}: ${pick(a, 'summary') || a.rule || ''} ${a.scope || ''}`,
    );
  }
  alertStates = new Map(list.filter((a) => !a.inhibited).map((a) => [a.id, a.state]));
  seekAlert();
}
const step = (a) => pick(a, 'next_step');
function renderRules() { // the last verdict of each rule, in the scopes that are nearest to firing
  const list = arr(data.rules), more = obj(data.not_shown).rules;
  show($('rules-box'), list.length > 0);
  put($('rules-box').firstElementChild, t('rules', int(list.length)));
  show($('rules-more'), more > 0);
  put($('rules-more'), t('rulesMore', int(more)));
  const made = (r) => {
    const n = el('article', 'verdicts', el('h3'), el('div', 'small'), el('div', 'small'), el('ul'));
    n.dataset.rule = r.rule;
    return n;
  };
  keyed($('rules'), list, (r) => r.rule, made, (n, r) => {
    const [head, meaning, verdicts, scopes] = n.children, f = (v) => fmt(r.unit, v);
    put(head, [r.rule, T[lang]['w_' + r.window] || r.window].join(' · '));
    put(meaning, pick(r, 'meaning'));
    put(
      verdicts,
      [
        num(r.judged) ? t('judgedAt', clock(r.judged)) : '',
        ...Object.entries(obj(r.counts)).filter(([, c]) => c)
          .map(([why, c]) => `${int(c)} ${t('v_' + why)}`),
        r.held ? heldText(r) : pick(r, 'not_judged'),
      ].filter(Boolean).join(' · '),
    );
    keyed(scopes, arr(r.scopes), (s) => s.scope, () => {
      return el('li', '', el('b'), el('span'), el('span'));
    }, (li, s) => {
      const [scope, value, why] = li.children;
      attr(li, 'data-status', s.status);
      put(scope, s.scope);
      put(
        value,
        num(s.value)
          ? [f(s.value), interval(r.kpi, s), 'n = ' + int(s.n), limited(f, r, s)]
            .filter(Boolean).join(' · ')
          : t('nodata'),
      );
      put(why, pick(s, 'why') + (num(s.since) ? ' · ' + t('since', clock(s.since)) : ''));
    });
  });
}
function makeTile(k) {
  const NS = 'http://www.w3.org/2000/svg',
    svg = document.createElementNS(NS, 'svg'),
    path = (c) => {
      const p = document.createElementNS(NS, 'path');
      p.setAttribute('class', c);
      svg.append(p);
      return p;
    };
  svg.setAttribute('viewBox', '0 0 100 36');
  svg.setAttribute('preserveAspectRatio', 'none');
  svg.setAttribute('aria-hidden', 'true');
  const s = el('div', 'spark', svg, el('div', 'cur'), el('div', 'dot'), el('div', 'tip')),
    n = el(
      'article',
      'tile',
      el('h3'),
      el('div', 'value'),
      el('div', 'changes'),
      el('div', 'note', el('span', 'ci'), el('span', 'n')),
      s,
    );
  Object.assign(s, {
    _area: path('ar'),
    _line: path('ln'),
    _pts: [],
    _at: null,
    _name: k.name,
    tabIndex: 0,
  });
  n.dataset.kpi = k.name;
  s.setAttribute('role', 'img');
  const move = (e) => {
      const r = s.getBoundingClientRect();
      s._at = Math.max(0, Math.min(1, (e.clientX - r.left) / r.width));
      hover(s);
    },
    off = () => {
      s._at = null;
      hover(s);
    };
  s.addEventListener('pointermove', move);
  s.addEventListener('pointerdown', move);
  s.addEventListener('pointerleave', off);
  s.addEventListener('blur', off);
  s.addEventListener('keydown', (e) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[e.key];
    if (e.key === 'Escape') off();
    if (!step || !s._pts.length) return;
    e.preventDefault();
    const i = s._at === null
      ? s._pts.length - 1
      : Math.max(0, Math.min(s._pts.length - 1, near(s) + step));
    s._at = s._pts[i].x / 100;
    hover(s);
  });
  return n;
}
const near = (s) =>
  s._pts.reduce(
    (b, p, i) => Math.abs(p.x - s._at * 100) < Math.abs(s._pts[b].x - s._at * 100) ? i : b,
    0,
  );
function hover(s) {
  const [, cur, dot, tip] = s.children, on = s._at !== null && s._pts.length > 0;
  const p = on ? s._pts[near(s)] : s._pts.filter((q) => q.y !== null).pop();
  show(cur, on);
  show(tip, on);
  show(dot, !!p && p.y !== null && (on || p === s._pts[s._pts.length - 1]));
  if (!p) return;
  cur.style.left = dot.style.left = tip.style.left = p.x + '%';
  tip.style.transform = `translateX(-${p.x}%)`;
  if (p.y !== null) dot.style.top = p.y / 36 * 100 + '%';
  put(tip, `${clock(p.t)} · ${fmt(unit(s._name), p.v)}`);
}
function spark(s, raw) {
  const pts = arr(raw).filter((p) => Array.isArray(p) && num(p[0])).sort((a, b) => a[0] - b[0]),
    vals = pts.map((p) => p[1]).filter(num);
  const t0 = pts.length ? pts[0][0] : 0,
    span = pts.length ? pts[pts.length - 1][0] - t0 : 0,
    lo = Math.min(...vals),
    hi = Math.max(...vals);
  const gaps = pts.slice(1).map((p, i) => p[0] - pts[i][0]).sort((a, b) => a - b),
    gap = 1.6 * (gaps[gaps.length >> 1] || Infinity),
    f = (v) => v.toFixed(2);
  s._pts = pts.map((p) => ({
    t: p[0],
    v: p[1],
    x: span ? (p[0] - t0) / span * 100 : 100,
    y: !num(p[1]) ? null : hi > lo ? 32 - (p[1] - lo) / (hi - lo) * 28 : 18,
  }));
  const segs = []; // a null or a hole breaks the line; it is not drawn as zero
  s._pts.forEach((p, i) => {
    if (p.y === null) return;
    const q = s._pts[i - 1];
    if (q && q.y !== null && p.t - q.t <= gap) segs[segs.length - 1].push(p);
    else segs.push([p]);
  });
  const line = (g) =>
    'M' + g.concat(g.length === 1 ? g : []).map((p) => f(p.x) + ' ' + f(p.y)).join('L');
  attr(s._line, 'd', segs.map(line).join(''));
  attr(
    s._area,
    'd',
    segs.map((g) => line(g) + `L${f(g[g.length - 1].x)} 36L${f(g[0].x)} 36Z`).join(''),
  );
  const g = (v) => fmt(unit(s._name), v);
  attr(
    s,
    'aria-label',
    vals.length
      ? t('sparkAria', title(s._name), g(lo), g(hi), g(pts[pts.length - 1][1]))
      : title(s._name) + ': ' + t('nodata'),
  );
  hover(s);
  return span;
}
function renderChanges(box, k) { // of the newest whole quarter of an hour, which the tooltip names
  const by = obj(obj(data.comparisons)[win]),
    of = (r) => obj(obj(obj(by[r]).kpis)[k.name]),
    refs = Object.keys(by).filter((r) => num(of(r).now) && num(of(r).then));
  keyed(box, refs, (r) => r, () => el('span'), (n, r) => {
    const c = of(r),
      p = by[r],
      up = c.now > c.then,
      same = c.now === c.then,
      told = typeof c.significant === 'boolean',
      v = (x) => fmt(k.unit, x);
    const good = !c.significant || same
      ? null
      : k.direction === 'neither'
      ? 'neither'
      : up === (k.direction === 'more')
      ? 'yes'
      : 'no';
    put(
      n,
      [
        same ? '=' : up ? '▲' : '▼',
        num(c.ratio) && !same ? fnum(Math.abs(c.ratio), { style: 'percent' }, 1) : '',
        t('r_' + r),
        c.significant === false && !same ? t('ns') : '',
      ].filter(Boolean).join(' '),
    );
    attr(n, 'data-good', good);
    attr(n, 'data-reference', r);
    attr(
      n,
      'title',
      [
        t(
          'periods',
          v(c.now),
          clock(p.start),
          clock(p.end),
          v(c.then),
          clock(p.then_start),
          clock(p.then_end),
        ),
        same || c.significant ? '' : told ? t('chance') : t('notTold'),
      ].filter(Boolean).join(' · '),
    );
  });
  show(box, refs.length > 0);
}
function benchmark(k, c) { // the tooltip names its source
  const b = obj(k.benchmark), d = obj(c.against_benchmark);
  if (!num(b.value)) return '';
  const sign = d.ratio < 0 ? '−' : '+';
  return [
    t('benchmark', fmt(k.unit, b.value)),
    num(d.ratio) ? `(${sign}${fnum(Math.abs(d.ratio), { style: 'percent' }, 1)})` : '',
    d.significant === false ? t('ns') : '',
  ].filter(Boolean).join(' ');
}
function renderKpis() {
  const totals = obj(data.totals), sp = obj(data.sparklines), list = [...meta.values()];
  let longest = 0;
  keyed($('kpis'), list, (k) => k.name, makeTile, (n, k) => {
    const c = cell(totals, k.name), s = fmt(k.unit, c.value), [, v, changes, note] = n.children;
    put(n.firstChild, title(k.name));
    put(v, s);
    attr(v, 'data-len', s.length > 10 ? 'l' : s.length > 8 ? 'm' : null);
    attr(v, 'title', c.value >= 1e9 ? String(c.value) : null);
    attr(n, 'data-empty', s === DASH);
    attr(n, 'data-alert', marked.get('/' + k.name));
    put(note.firstChild, s === DASH ? t('nodata') : interval(k.name, c));
    put(
      note.lastChild,
      [
        num(c.n) ? 'n = ' + int(c.n) : '',
        c.significant === false ? t('insignificant') : '',
        benchmark(k, c),
        arr(obj(data.incomplete)[win]).includes(k.name) ? t('incomplete') : '',
      ].filter(Boolean).join(' · '),
    );
    attr(note.lastChild, 'title', obj(k.benchmark).source);
    attr(n, 'data-incomplete', String(arr(obj(data.incomplete)[win]).includes(k.name)));
    renderChanges(changes, k);
    show(n, everything || s !== DASH);
    longest = Math.max(longest, spark(n.lastChild, sp[k.name]));
  });
  const without = list.filter((k) => !num(cell(totals, k.name).value)).length;
  show($('kpis-all'), without > 0);
  put($('kpis-all'), everything ? t('hideEmpty') : t('showAll', without));
  show($('kpis-empty'), !list.length);
  put($('kpis-empty'), t('waiting'));
  put(
    $('kpis-note'),
    [
      T[lang]['w_' + win] || win,
      data.currency,
      longest >= 1000 ? t('trend', dur(longest / 1000)) : '',
    ].filter(Boolean).join(' · '),
  );
}
function notShown(what) {
  const n = obj(data.not_shown)[what];
  return n > 0 ? t('notShown', int(n)) : '';
}
function renderCampaigns() {
  const cols = ['campaign', ...arr(data.campaign_columns)];
  if (!cols.includes(sort.col)) sort = { col: 'campaign', dir: 1 };
  const list = arr(data.campaigns).filter((c) => c && c.campaign != null),
    called = (c) => String(c.name || c.campaign),
    val = (c, k) => k === 'campaign' ? called(c) : cell(c.windows, k).value,
    byName = (a, b) =>
      called(a).localeCompare(called(b), lang) || (a.campaign < b.campaign ? -1 : 1),
    // The server sends the largest first.
    place = new Map(list.map((c, i) => [c, i])),
    bySize = (a, b) => place.get(a) - place.get(b);
  list.sort((a, b) => {
    if (sort.col === 'campaign') return sort.dir * byName(a, b);
    const x = val(a, sort.col), y = val(b, sort.col);
    // No data goes last either way.
    return num(x) && num(y)
      ? sort.dir * (x - y) || bySize(a, b)
      : Number(num(y)) - Number(num(x)) || bySize(a, b);
  });
  const table = $('campaigns');
  keyed(table.tHead.rows[0], cols, (c) => c, (c) => {
    const b = el('button'), n = el('th', '', b);
    b.type = 'button';
    n.scope = 'col';
    n.dataset.sort = c;
    n.setAttribute('role', 'columnheader');
    b.addEventListener(
      'click',
      () => setSort(c, sort.col === c ? -sort.dir : c === 'campaign' ? 1 : -1),
    );
    return n;
  }, (n, c) => {
    put(n.firstChild, title(c));
    attr(n, 'aria-sort', sort.col === c ? (sort.dir > 0 ? 'ascending' : 'descending') : 'none');
  });
  keyed(table.tBodies[0], list, (c) => c.campaign, (c) => {
    const tr = el('tr');
    tr.dataset.campaign = c.campaign;
    tr.setAttribute('role', 'row');
    return tr;
  }, (tr, c) =>
    keyed(tr, cols, (k) => k, (k) => {
      const head = k === 'campaign',
        n = head
          ? el('th', '', el('span'), el('small'))
          : el('td', '', el('span', 'value'), el('small'));
      if (head) n.scope = 'row';
      n.dataset.col = k;
      n.setAttribute('role', head ? 'rowheader' : 'cell');
      return n;
    }, (n, k) => {
      if (k === 'campaign') {
        put(n.firstChild, called(c));
        put(
          n.lastChild,
          [called(c) === c.campaign ? '' : c.campaign, c.phase].filter(Boolean).join(' · '),
        );
        return;
      }
      const v = cell(c.windows, k), s = fmt(unit(k), v.value), none = s === DASH;
      attr(n, 'data-label', title(k));
      put(n.firstChild, s);
      attr(n, 'data-empty', none);
      attr(n, 'data-alert', marked.get(c.campaign + '/' + k));
      put(n.lastChild, unit(k) === 'ratio' && !none ? range(k, v) : '');
      attr(
        n,
        'title',
        none
          ? t('nodata')
          : [interval(k, v), num(v.n) ? 'n = ' + int(v.n) : ''].filter(Boolean).join(' · ') || null,
      );
    }));
  keyed($('sort-select'), cols, (c) => c, (c) => {
    const o = el('option');
    o.value = c;
    return o;
  }, (o, c) => put(o, title(c)));
  $('sort-select').value = sort.col;
  put($('sort-dir'), sort.dir > 0 ? '↑' : '↓');
  attr($('sort-dir'), 'aria-label', t(sort.dir > 0 ? 'asc' : 'desc'));
  show(table.parentNode, list.length > 0);
  show($('campaigns-empty'), !list.length);
  put($('campaigns-empty'), Array.isArray(data.campaigns) ? t('noCampaigns') : DASH);
  put(
    $('camp-note'),
    [list.length || '', T[lang]['w_' + win] || win, notShown('campaigns')].filter(Boolean).join(
      ' · ',
    ),
  );
}
function renderCards() {
  const list = arr(data.scorecards);
  show($('cards-section'), list.length > 0);
  put($('cards-note'), notShown('scorecards'));
  keyed($('cards'), list, (c) => c.card + '/' + c.scope, (c) => {
    const n = el(
      'article',
      'card',
      el('h3'),
      el('div', 'points'),
      el('div', 'small'),
      el('div', 'bars'),
      el('details', '', el('summary'), el('div')),
    );
    n.dataset.card = c.card;
    return n;
  }, (n, c) => {
    const [head, points, note, bars, more] = n.children,
      pts = (v) => num(v) ? fnum(v, {}, 0) : DASH;
    put(head, pick(c, 'title') + ' · ' + c.scope);
    put(points, pts(c.points));
    put(
      note,
      [
        t('coverage', fnum(c.coverage, { style: 'percent' }, 0)),
        T[lang]['w_' + c.window] || c.window,
        c.owner,
      ].filter(Boolean).join(' · '),
    );
    keyed(
      bars,
      arr(c.dimensions),
      (d) => d.name,
      () => el('div', 'bar', el('span'), el('i', '', el('b')), el('span')),
      (b, d) => {
        put(b.children[0], pick(d, 'title'));
        put(b.children[2], pts(d.points));
        b.children[1].firstChild.style.width = (num(d.points) ? d.points / 1.2 : 0) + '%';
        attr(
          b.children[1].firstChild,
          'data-level',
          !num(d.points) ? null : d.points < 60 ? 'bad' : d.points >= 100 ? 'ok' : 'mid',
        );
      },
    );
    put(more.firstChild, t('kpis'));
    keyed(
      more.lastChild,
      arr(c.dimensions).flatMap((d) => arr(d.indicators)),
      (i) => i.kpi,
      () => el('div', 'ind', el('span'), el('span'), el('span'), el('span')),
      (r, i) => {
        const f = (v) => fmt(unit(i.kpi), v);
        put(r.children[0], title(i.kpi));
        put(r.children[1], f(i.value));
        put(r.children[2], `${t('base')} ${f(i.base)} · ${t('stretch')} ${f(i.stretch)}`);
        put(r.children[3], t('s_' + i.state));
        attr(r.children[3], 'data-state', i.state);
      },
    );
  });
}
function renderFunnels() {
  const list = arr(data.funnels), share = (v) => fnum(v, { style: 'percent' }, 2);
  show($('funnel-section'), list.length > 0);
  put($('funnel-note'), notShown('funnels'));
  const told = (s) => `${t('o_' + s.name)} ${share(s.rate)} (${t('usual', share(s.reference))})`;
  const made = () => el('div', 'way', el('b'), el('span'), el('span'));
  keyed($('funnels'), list, (f) => f.scope, made, (n, f) => {
    const [scope, steps, branches] = n.children;
    put(scope, f.scope);
    keyed(steps, arr(f.steps), (s) => s.name, () => el('span', 'step'), (b, s) => {
      attr(b, 'data-worst', String(f.worst === s.name));
      put(
        b,
        `→ ${told(s)}` +
          (f.worst === s.name ? ` · ${t('ordersLost', fnum(s.excess_loss, {}, 0))}` : ''),
      );
      attr(
        b,
        'title',
        t('stepOf', int(s.passed), t('o_' + s.name), int(s.entered), t('o_' + s.left)),
      );
    });
    keyed(branches, arr(f.branches), (s) => s.name, () => el('span', 'step'), (b, s) => {
      put(
        b,
        `${t('branch', t('o_' + s.left))} ${told(s)}` +
          (s.significant ? ` · ${t('fewer', fnum(s.excess_loss, {}, 0))}` : ''),
      );
      attr(
        b,
        'title',
        t('stepOf', int(s.passed), t('o_' + s.name), int(s.entered), t('o_' + s.left)),
      );
    });
    attr(branches, 'class', 'small');
  });
}
function renderEffects() {
  const list = arr(data.effects);
  show($('effects-section'), list.length > 0);
  put(
    $('effects-note'),
    [t('effectsNote'), list.length >= data.effects_limit ? t('effectsNewest', list.length) : '']
      .filter(Boolean).join(' · '),
  );
  keyed(
    $('effects'),
    list,
    (e) => e.id,
    () => el('div', 'way', el('b'), el('span'), el('span'), el('span')),
    (n, e) => {
      const known = Object.keys(obj(e.before)).length > 0 && Object.keys(obj(e.after)).length > 0;
      put(
        n.children[0],
        `${clock(e.at)} · ${e.name || e.campaign}` +
          (e.name && e.name !== e.campaign ? ` (${e.campaign})` : ''),
      );
      put(
        n.children[1],
        [
          e.what === 'start' ? t('started') : e.what === 'end' ? t('ended') : e.what,
          e.from == null && e.to == null ? '' : `${e.from ?? DASH} → ${e.to ?? DASH}`,
          e.who ? t('by', e.who) : '',
          e.scope === 'all' ? t('ofAll') : '',
        ].filter(Boolean).join(' · '),
      );
      keyed(
        n.children[2],
        known ? arr(data.effect_kpis) : [],
        (k) => k,
        () => el('span', 'step'),
        (b, k) => {
          const v = (side) => fmt(unit(k), obj(obj(e[side])[k]).value);
          const d = obj(obj(e.differences)[k]), up = d.difference > 0;
          put(
            b,
            [
              `${title(k)} ${v('before')} → ${v('after')}`,
              num(d.ratio) && d.difference
                ? `${up ? '▲' : '▼'} ${fnum(Math.abs(d.ratio), { style: 'percent' }, 1)}`
                : '',
              d.significant === false ? t('ns') : '',
            ].filter(Boolean).join(' '),
          );
          attr(
            b,
            'title',
            num(d.low) && num(d.high)
              ? t('differenceCi', fmt(unit(k), d.low), fmt(unit(k), d.high))
              : null,
          );
        },
      );
      put(n.children[3], known ? t('effectOver', dur(e.length / 1000)) : t('effectUnknown'));
      attr(n.children[3], 'class', 'small');
    },
  );
}
const PEER_COLS = ['kpi', 'scope', 'value', 'median', 'z'];
function renderPeers() {
  const at = obj(data.peers),
    windows = Object.keys(at),
    w = windows.includes(win) ? win : windows[0],
    of = obj(at[w]),
    list = arr(of.outliers),
    table = $('peers');
  keyed(table.tHead.rows[0], PEER_COLS, (c) => c, (c) => {
    const n = el('th', c === 'scope' ? 'where' : '');
    n.scope = 'col';
    n.setAttribute('role', 'columnheader');
    return n;
  }, (n, c) => put(n, t('p_' + c)));
  keyed(table.tBodies[0], list, (p) => p.kpi + '/' + p.scope, () => {
    const head = el('th'),
      tr = el(
        'tr',
        '',
        head,
        el('td', 'where'),
        el('td', 'side'),
        el('td', '', el('span'), el('small')),
        el('td', 'side', el('span'), el('small')),
      );
    head.scope = 'row';
    tr.setAttribute('role', 'row');
    [...tr.children].forEach((n, i) => n.setAttribute('role', i ? 'cell' : 'rowheader'));
    return tr;
  }, (tr, p) => {
    const [kpi, scope, value, median, z] = tr.children, f = (v) => fmt(unit(p.kpi), v);
    attr(tr, 'data-better', String(p.better));
    PEER_COLS.slice(1).forEach((c, i) => attr(tr.children[i + 1], 'data-label', t('p_' + c)));
    put(kpi, title(p.kpi));
    put(scope, p.scope);
    put(value, f(p.value));
    put(median.firstChild, f(p.median));
    put(median.lastChild, t('p_of', int(p.peers)));
    put(z.firstChild, fnum(p.z, { signDisplay: 'always' }, 1));
    put(z.lastChild, t(p.better ? 'better' : 'worse'));
  });
  show(table.parentNode, list.length > 0);
  show($('peers-empty'), !list.length);
  put($('peers-empty'), t(w ? 'noOutliers' : 'notJudged'));
  put(
    $('peers-note'),
    w
      ? [
        T[lang]['w_' + w] || w,
        of.count ? t('outliers', int(of.count)) : '',
        of.count > list.length ? t('largest', int(list.length)) : '',
      ].filter(Boolean).join(' · ')
      : '',
  );
}
function setSort(col, dir) {
  sort = { col, dir };
  render();
}
function renderChrome() {
  document.documentElement.lang = lang === 'zh' ? 'zh-CN' : 'en';
  document.querySelectorAll('[data-t]').forEach((n) => put(n, t(n.getAttribute('data-t'))));
  const [z, e] = $('language').children;
  attr(z, 'data-on', lang === 'zh');
  attr(e, 'data-on', lang === 'en');
  attr($('language'), 'aria-label', t('switchTo'));
  attr($('language'), 'title', t('switchTo'));
  const wins = data && arr(data.windows).length ? data.windows : [win];
  if (!wins.includes(win)) win = wins.includes('5m') ? '5m' : wins[0];
  keyed($('window-select'), wins, (w) => w, (w) => {
    const o = el('option');
    o.value = w;
    return o;
  }, (o, w) => put(o, T[lang]['w_' + w] || w));
  if ($('window-select').value !== win) $('window-select').value = win;
  if (!data) {
    document.title = t('product');
    ['alerts-empty', 'kpis-empty', 'peers-empty', 'campaigns-empty'].forEach((i) =>
      put($(i), t('waiting'))
    );
  }
}
function render() {
  renderChrome();
  if (data) {
    meta = new Map(arr(data.kpis).filter((k) => k && k.name).map((k) => [k.name, k]));
    [
      renderPhase,
      renderHealth,
      renderUnknown,
      renderAlerts,
      renderRules,
      renderKpis,
      renderCards,
      renderFunnels,
      renderPeers,
      renderEffects,
      renderCampaigns,
    ].forEach((f) => f());
    put(
      $('foot-worker'),
      data.worker
        ? t('worker', data.worker) +
          (data.owner == null ? '' : ' · ' + t(data.owner ? 'owner' : 'standby'))
        : '',
    );
    put($('foot-time'), t('srvTime', clock(data.now)));
  }
  put($('foot-tz'), t('tz', Intl.DateTimeFormat().resolvedOptions().timeZone));
  tick();
}

// ---- connection: EventSource retries by itself unless the answer was an error; then, or when the
// line is silently dead, the page opens it again
let es = null,
  up = false,
  badData = false,
  wasBad = false,
  retry = 0,
  timer = 0,
  fresh = null,
  heard = stamp();
function stamp() {
  return [Date.now(), performance.now()];
}
function age(s) { // both clocks: one stops in sleep, the other can be set back
  return Math.max(Date.now() - s[0], performance.now() - s[1], 0) / 1000;
}
function connect() {
  clearTimeout(timer);
  timer = 0;
  if (es) es.close();
  heard = stamp();
  const me = es = new EventSource('api/stream');
  me.onopen = () => {
    if (me === es) {
      up = true;
      tick();
    }
  };
  me.onerror = () => {
    if (me !== es) return;
    up = false;
    if (me.readyState === EventSource.CLOSED && !timer) {
      timer = setTimeout(connect, Math.min(15000, 1000 * 2 ** retry++) * (.75 + Math.random() / 2));
    }
    tick();
  };
  me.onmessage = (e) => {
    if (me !== es) return;
    heard = stamp();
    up = true;
    retry = 0;
    const before = data;
    try {
      const d = JSON.parse(e.data);
      if (!d || typeof d !== 'object' || !num(d.now)) throw new TypeError('message without "now"');
      data = d;
      badData = false;
      // A server that repeats the same moment is not fresh.
      if (!before || before.now !== d.now) fresh = stamp();
      render();
    } catch (err) {
      badData = true;
      if (!before) data = null;
      fresh = before ? fresh : null;
      console.error(err);
      tick();
    }
  };
}
function tick() {
  const a = fresh ? age(fresh) : null,
    state = !up
      ? (fresh || retry > 0 || age(t00) > STALE_S ? 'lost' : 'connecting')
      : badData
      ? 'stale'
      : a === null
      ? (age(t00) > STALE_S ? 'stale' : 'connecting')
      : a > STALE_S
      ? 'stale'
      : 'live',
    bad = state === 'lost' || state === 'stale';
  attr(document.body, 'data-conn', state);
  attr($('conn'), 'data-state', state);
  put($('conn'), t(state));
  attr($('stale'), 'data-state', state);
  show($('stale'), state !== 'live');
  const when = a === null ? t('never') : t('last', dur(a));
  put(
    $('stale'),
    state === 'connecting'
      ? t('connecting')
      : [t(state), when, badData ? t('badData') : '', up ? '' : t('retrying')].filter(Boolean).join(
        ' · ',
      ),
  );
  if (bad !== wasBad && state !== 'connecting') {
    say(bad ? `${t(state)}: ${when}` : t('back'));
    wasBad = bad;
  }
  if (bad) {
    const mark = '⚠ ';
    if (!document.title.startsWith(mark)) document.title = mark + document.title;
  } else if (document.title.startsWith('⚠ ')) document.title = document.title.slice(2);
  if (!timer && age(heard) > WATCHDOG_S) {
    up = false;
    connect();
  }
}
const t00 = stamp();
$('language').addEventListener('click', () => {
  lang = lang === 'zh' ? 'en' : 'zh';
  store.set('kpi.lang', lang);
  render();
});
$('window-select').addEventListener('change', () => {
  win = $('window-select').value;
  store.set('kpi.window', win);
  render();
});
$('kpis-all').addEventListener('click', () => {
  everything = !everything;
  render();
});
$('sort-select').addEventListener('change', () => {
  const col = $('sort-select').value;
  setSort(col, col === 'campaign' ? 1 : -1);
});
$('sort-dir').addEventListener('click', () => setSort(sort.col, -sort.dir));
const wake = () => {
  if (!document.hidden && (timer || age(heard) > STALE_S)) connect();
};
document.addEventListener('visibilitychange', wake);
globalThis.addEventListener('hashchange', () => {
  sought = '';
  seekAlert();
});
globalThis.addEventListener('online', () => connect());
globalThis.addEventListener('pageshow', (e) => {
  if (e.persisted) connect();
});
render();
connect();
setInterval(tick, 1000);
