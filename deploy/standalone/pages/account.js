// What the links in account e-mails open where no client app does: it hands the token to the API when the person
// presses the button, so that a program which only looks at the link uses nothing up.
const wording = {
  "/verify-email": {
    title: "Confirmar e-mail", lead: "Confirme que este e-mail é seu.", send: "Confirmar", call: "/v1/auth/email/verify",
    done: "E-mail confirmado. Você já pode fechar esta página.",
  },
  "/reset-password": {
    title: "Nova senha", lead: "Escolha a senha com que você vai entrar.", send: "Salvar", call: "/v1/auth/password/reset",
    done: "Senha alterada. Entre com a nova senha.",
  },
}[location.pathname];
const byId = (id) => document.getElementById(id);
const token = new URLSearchParams(location.search).get("token");
history.replaceState(null, "", location.pathname); // the token stays out of the history

function say(text, wrong) {
  byId("answer").textContent = text;
  byId("answer").className = wrong ? "wrong" : "";
}

async function send(event) {
  event.preventDefault();
  byId("send").disabled = true;
  const body = { token };
  if (wording.call.endsWith("/reset")) body.password = byId("password").value;
  try {
    const res = await fetch(wording.call, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
    if (res.ok) {
      byId("form").hidden = true;
      say(wording.done);
      return;
    }
    const problem = await res.json();
    say([problem.detail, ...(problem.errors ?? []).map((e) => e.detail)].join(" "), true);
  } catch {
    say("Sem resposta do servidor. Tente novamente em instantes.", true);
  }
  byId("send").disabled = false;
}

document.title = byId("title").textContent = wording.title;
byId("lead").textContent = wording.lead;
byId("send").textContent = wording.send;
byId("choose").hidden = !wording.call.endsWith("/reset");
if (token) {
  byId("form").hidden = false;
  byId("form").addEventListener("submit", send);
} else {
  say("O link está incompleto. Abra-o de novo a partir do e-mail.", true);
}
