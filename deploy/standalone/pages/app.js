// What the links in e-mails about appointments open where no client app does: the reader signs in, sees what the e-mail
// is about and acts with a button, so that a program which only looks at a link changes nothing. The token is kept in
// memory alone.
const english = navigator.language.toLowerCase().startsWith("en");
const t = (portuguese, other) => (english ? other : portuguese);
const byId = (id) => document.getElementById(id);
const [area, id, action] = location.pathname.split("/").filter(Boolean);
let token = "";
let me = {};

function say(text, wrong) {
  byId("answer").textContent = text;
  byId("answer").className = wrong ? "wrong" : "";
}

function head(title, lead = "") {
  document.title = byId("title").textContent = title;
  byId("lead").textContent = lead;
}

// call answers with the body, or throws what a person can be told.
async function call(method, path, body) {
  const headers = { "Accept-Language": english ? "en" : "pt-BR" };
  if (token) headers.Authorization = "Bearer " + token;
  if (body) headers["Content-Type"] = "application/json";
  if (method === "POST" && token) headers["Idempotency-Key"] = Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16)).join("-");
  let res;
  try {
    res = await fetch(path, { method, headers, body: body && JSON.stringify(body) });
  } catch {
    throw new Error(t("Sem resposta do servidor. Tente novamente em instantes.", "No answer from the server. Try again in a moment."));
  }
  const answer = res.status === 204 ? null : await res.json().catch(() => null);
  if (!res.ok) throw new Error([answer?.detail ?? answer?.title ?? String(res.status), ...(answer?.errors ?? []).map((e) => e.detail)].join(" "));
  return answer;
}

function element(name, properties = {}, ...children) {
  const e = Object.assign(document.createElement(name), properties);
  e.append(...children);
  return e;
}

// button runs work once at a time and tells what went wrong.
function button(label, quiet, work) {
  const b = element("button", { textContent: label, className: quiet ? "quiet" : "" });
  b.onclick = async () => {
    say("");
    b.disabled = true;
    try {
      await work();
    } catch (err) {
      say(err.message, true);
    }
    b.disabled = false;
  };
  return b;
}

const show = (...children) => byId("content").replaceChildren(...children);
const clock = (at, zone) => new Intl.DateTimeFormat(english ? "en-GB" : "pt-BR", { hour: "2-digit", minute: "2-digit", timeZone: zone }).format(new Date(at));
const day = (at, zone) => new Intl.DateTimeFormat(english ? "en-GB" : "pt-BR", { dateStyle: "full", timeZone: zone }).format(new Date(at));

// nameOf is a person's name as far as the caller may know it.
async function nameOf(role, person) {
  if (person === me.id) return me.name;
  try {
    return (await call("GET", `/v1/${role}s/${person}`)).name;
  } catch {
    return "";
  }
}

function facts(a, other) {
  const list = element("dl", {},
    element("dt", { textContent: day(a.starts_at, a.time_zone) }),
    element("dd", { className: "time", textContent: `${clock(a.starts_at, a.time_zone)} – ${clock(a.ends_at, a.time_zone)}` }));
  if (other) list.append(element("dt", { textContent: me.role === "doctor" ? t("Paciente", "Patient") : t("Profissional", "Doctor") }), element("dd", { textContent: other }));
  list.append(element("dt", { textContent: t("Fuso horário", "Time zone") }), element("dd", { textContent: a.time_zone.replaceAll("_", " ") }));
  return list;
}

const statuses = () => ({
  requested: t("Aguardando a resposta do profissional.", "Waiting for the doctor's answer."), booked: t("Marcada.", "Booked."),
  declined: t("O pedido foi recusado.", "The request was declined."), cancelled: t("Cancelada.", "Cancelled."),
  completed: t("Realizada.", "Took place."), no_show: t("O paciente não compareceu.", "The patient did not come."),
});

async function appointment() {
  const a = await call("GET", "/v1/appointments/" + encodeURIComponent(id));
  head(t("Consulta", "Appointment"), statuses()[a.status] ?? "");
  const other = me.role === "doctor" ? await nameOf("patient", a.patient_id) : await nameOf("doctor", a.doctor_id);
  const parts = [facts(a, other)];
  const act = (verb, body, done) => async () => {
    await call("POST", `/v1/appointments/${a.id}/${verb}`, body);
    await appointment();
    say(done);
  };
  if (a.status === "requested" && me.role !== "patient") {
    const reason = element("textarea", { id: "reason", rows: 2, maxLength: 500 });
    const confirm = button(t("Confirmar consulta", "Confirm appointment"), action === "decline", act("confirm", undefined, t("Confirmada. O paciente foi avisado.", "Confirmed. The patient is being told.")));
    const decline = button(t("Recusar", "Decline"), action !== "decline", () => act("decline", { reason: reason.value }, t("Recusada. O paciente foi avisado.", "Declined. The patient is being told."))());
    const why = [element("label", { htmlFor: "reason", textContent: t("Motivo da recusa", "Reason for declining") }), reason];
    parts.push(...(action === "decline" ? [...why, decline, confirm] : [confirm, ...why, decline]));
  }
  show(...parts);
}

async function agenda() {
  head(t("Agenda", "Agenda"));
  const from = new Date(id + "T00:00:00Z");
  const around = (days) => new Date(from.getTime() + days * 864e5).toISOString();
  const all = (await call("GET", `/v1/appointments?limit=100&status=booked&from=${around(-1)}&to=${around(2)}`)).items;
  const local = (a) => new Intl.DateTimeFormat("en-CA", { timeZone: a.time_zone }).format(new Date(a.starts_at));
  const mine = all.filter((a) => local(a) === id).sort((a, b) => a.starts_at.localeCompare(b.starts_at));
  const names = await Promise.all(mine.map((a) => (me.role === "doctor" ? nameOf("patient", a.patient_id) : nameOf("doctor", a.doctor_id))));
  head(t("Agenda", "Agenda"), mine.length ? day(mine[0].starts_at, mine[0].time_zone) : t("Nenhuma consulta neste dia.", "No appointments on this day."));
  const list = element("dl");
  mine.forEach((a, i) => list.append(element("dt", { textContent: `${clock(a.starts_at, a.time_zone)} – ${clock(a.ends_at, a.time_zone)}` }), element("dd", { textContent: names[i] })));
  show(...(mine.length ? [list] : []));
}

async function offer() {
  const entry = (await call("GET", "/v1/waitlist?limit=100")).items.find((e) => e.hold_id === id || e.offer?.hold_id === id);
  const slot = entry?.offer ?? entry;
  if (!slot?.starts_at) throw new Error(t("Esta oferta já não vale: o horário passou para outra pessoa.", "This offer is over: the time went to somebody else."));
  const doctor = slot.doctor_id ?? entry.doctor_id;
  head(t("Um horário ficou livre", "A time came free"));
  show(facts({ ...slot, time_zone: slot.time_zone ?? "America/Sao_Paulo" }, await nameOf("doctor", doctor)),
    button(t("Ficar com o horário", "Take it"), false, async () => {
      const a = await call("POST", "/v1/appointments", { doctor_id: doctor, starts_at: slot.starts_at, hold_id: id });
      show(facts(a, await nameOf("doctor", doctor)));
      head(t("Consulta", "Appointment"), statuses()[a.status]);
    }));
}

async function settings() {
  head(t("Mensagens", "Messages"), t("O que você quer receber por e-mail. Mudanças de uma consulta são sempre avisadas.", "What you want by e-mail. You are always told when an appointment changes."));
  const p = await call("GET", "/v1/notification-preferences");
  const choice = (name, text) => element("label", { className: "check" }, element("input", { type: "checkbox", checked: p[name], onchange: (e) => (p[name] = e.target.checked) }), text);
  show(me.role === "doctor" ? choice("daily_agenda", t("A agenda do dia seguinte, às 18h", "The next day's agenda, at 18:00")) : choice("reminders", t("Lembrete na véspera da consulta", "A reminder the day before an appointment")),
    button(t("Salvar", "Save"), false, async () => {
      await call("PUT", "/v1/notification-preferences", p);
      say(t("Salvo.", "Saved."));
    }));
}

const pages = { appointments: appointment, agenda, waitlist: offer, settings };

byId("signin").onsubmit = async (event) => {
  event.preventDefault();
  byId("enter").disabled = true;
  say("");
  try {
    const session = await call("POST", "/v1/auth/login", { email: byId("email").value.trim(), password: byId("password").value });
    token = session.access_token;
    me = session.user;
    byId("signin").hidden = true;
    await pages[area]();
  } catch (err) {
    say(err.message, true);
  }
  byId("enter").disabled = false;
};

document.documentElement.lang = english ? "en" : "pt-BR";
byId("emaillabel").textContent = "E-mail";
byId("passwordlabel").textContent = t("Senha", "Password");
byId("enter").textContent = t("Entrar", "Sign in");
head("Health&Med", t("Entre na sua conta para continuar.", "Sign in to continue."));
byId("signin").hidden = false;
