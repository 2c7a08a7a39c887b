// What the login of an application gives to the browser: its own token, that Parley trusts.
import jwt from "jsonwebtoken";

export function chatToken(user, secret, expiresIn = "15m") {
  const claims = { name: user.name, roles: user.roles };
  return jwt.sign(claims, secret, {
    algorithm: "HS256",
    issuer: "shop",
    audience: "parley",
    subject: String(user.id),
    expiresIn,
  });
}
