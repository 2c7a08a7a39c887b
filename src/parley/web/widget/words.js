/**
 * The widget's words in the languages it has. A language is one entry here, one in `widget.js`, and nothing else.
 * @module
 */

const en = {
  title: "Chat",
  greeting: "Hello! Write to us, and a person answers you here.",
  placeholder: "Your message",
  send: "Send",
  close: "Close the chat",
  you: "You",
  waiting: "A person will be with you.",
  unattended: "Nobody is here right now. We answer when we are back.",
  position: "You are number {} in the queue.",
  answers: "{} is answering you.",
  closed: "This chat is closed. Write to reopen it.",
  ended: "This conversation was ended.",
  over: "Your earlier conversation has run out. You can begin a new one.",
  offline: "Connection lost. What you write is kept and sent.",
  typing: "{} is typing",
  preview: "We see what you write while you write it.",
  who: "How can we reach you, should you leave?",
  name: "Name",
  email: "Email",
  save: "Save",
  skip: "Not now",
  thanks: "Thank you.",
  rate: "How was it?",
  scale: "1 poor, 5 good",
  stars: "{} of 5",
  sending: "sending",
  failed: "Not sent.",
  again: "Try again",
  drop: "Delete",
  deleted: "Message deleted",
  log: "Messages",
};

/** @type {typeof en} */
const de = {
  title: "Chat",
  greeting: "Hallo! Schreiben Sie uns, hier antwortet Ihnen ein Mensch.",
  placeholder: "Ihre Nachricht",
  send: "Senden",
  close: "Chat schließen",
  you: "Sie",
  waiting: "Gleich ist jemand für Sie da.",
  unattended: "Gerade ist niemand hier. Wir antworten, sobald wir zurück sind.",
  position: "Sie sind Nummer {} in der Warteschlange.",
  answers: "{} antwortet Ihnen.",
  closed: "Geschlossen. Schreiben Sie, um es zu öffnen.",
  ended: "Dieses Gespräch wurde beendet.",
  over: "Ihr früheres Gespräch ist abgelaufen. Sie können ein neues beginnen.",
  offline: "Verbindung unterbrochen. Was Sie schreiben, wird behalten und gesendet.",
  typing: "{} schreibt",
  preview: "Wir sehen, was Sie schreiben, während Sie es schreiben.",
  who: "Wie erreichen wir Sie, falls Sie gehen?",
  name: "Name",
  email: "E-Mail",
  save: "Speichern",
  skip: "Nicht jetzt",
  thanks: "Danke.",
  rate: "Wie war es?",
  scale: "1 schlecht, 5 gut",
  stars: "{} von 5",
  sending: "wird gesendet",
  failed: "Nicht gesendet.",
  again: "Noch einmal",
  drop: "Löschen",
  deleted: "Nachricht gelöscht",
  log: "Nachrichten",
};

/** @type {typeof en} */
const ar = {
  title: "دردشة",
  greeting: "مرحبًا! اكتب لنا وسيجيبك شخص هنا.",
  placeholder: "رسالتك",
  send: "إرسال",
  close: "أغلق الدردشة",
  you: "أنت",
  waiting: "سيكون معك شخص قريبًا.",
  unattended: "لا أحد هنا الآن. سنجيبك عند عودتنا.",
  position: "رقمك في الانتظار: {}",
  answers: "{} يجيبك الآن.",
  closed: "أُغلقت هذه المحادثة. اكتب لفتحها من جديد.",
  ended: "أُنهيت هذه المحادثة.",
  over: "انتهت صلاحية محادثتك السابقة. يمكنك بدء محادثة جديدة.",
  offline: "انقطع الاتصال. ما تكتبه محفوظ وسيُرسل.",
  typing: "{} يكتب",
  preview: "نرى ما تكتبه أثناء كتابته.",
  who: "كيف نتواصل معك إذا غادرت؟",
  name: "الاسم",
  email: "البريد الإلكتروني",
  save: "حفظ",
  skip: "ليس الآن",
  thanks: "شكرًا لك.",
  rate: "كيف كانت تجربتك؟",
  scale: "1 سيئة، 5 جيدة",
  stars: "{} من 5",
  sending: "جارٍ الإرسال",
  failed: "لم تُرسل.",
  again: "حاول مجددًا",
  drop: "حذف",
  deleted: "حُذفت الرسالة",
  log: "الرسائل",
};

/** @type {Record<string, typeof en>} */
const LANGUAGES = { en, de, ar };

/** @param {string|null} lang */
export function wordsOf(lang) {
  const known = lang && Object.hasOwn(LANGUAGES, lang) ? lang : "en";
  return { lang: known, dir: known === "ar" ? "rtl" : "ltr", words: LANGUAGES[known] };
}

/** @param {string} words with `{}` @param {string|number} value */
export const put = (words, value) => words.replace("{}", () => String(value));
