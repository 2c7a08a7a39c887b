// gorilla/websocket as its own chat example has it: a hub, and for each client a reading and a writing goroutine.
// The token (HS256) is checked before the upgrade; no store.    gorilla PORT     BENCH_KEY
package main

import (
	"encoding/json"
	"net/http"
	"os"
	"strings"

	jwt "github.com/golang-jwt/jwt"
	"github.com/gorilla/websocket"
)

type message struct {
	Type string `json:"type"`
	From string `json:"from,omitempty"`
	Room string `json:"room"`
	Body string `json:"body"`
}

type client struct {
	socket *websocket.Conn
	told   chan *websocket.PreparedMessage
}

var (
	key      = []byte(os.Getenv("BENCH_KEY"))
	upgrader = websocket.Upgrader{ReadBufferSize: 1024, WriteBufferSize: 1024, CheckOrigin: func(*http.Request) bool { return true }}
	join     = make(chan *client)
	leave    = make(chan *client)
	said     = make(chan *websocket.PreparedMessage, 256)
)

func hub() {
	room := map[*client]bool{}
	drop := func(c *client) {
		if room[c] {
			delete(room, c)
			close(c.told)
		}
	}
	for {
		select {
		case c := <-join:
			room[c] = true
		case c := <-leave:
			drop(c)
		case m := <-said:
			for c := range room {
				select {
				case c.told <- m:
				default:
					drop(c)
				}
			}
		}
	}
}

func subject(r *http.Request) (string, bool) {
	bearer := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	token, err := jwt.Parse(bearer, func(t *jwt.Token) (interface{}, error) {
		if t.Method.Alg() != "HS256" {
			return nil, jwt.ErrSignatureInvalid
		}
		return key, nil
	})
	if err != nil || !token.Valid {
		return "", false
	}
	claims := token.Claims.(jwt.MapClaims)
	name, _ := claims["sub"].(string)
	return name, claims.VerifyIssuer("parley", true) && claims.VerifyAudience("parley", true)
}

func write(c *client) {
	for m := range c.told {
		if c.socket.WritePreparedMessage(m) != nil {
			break
		}
	}
	c.socket.Close()
}

func serve(w http.ResponseWriter, r *http.Request) {
	from, admitted := subject(r)
	if !admitted {
		http.Error(w, "unauthorized", http.StatusUnauthorized)
		return
	}
	socket, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	c := &client{socket, make(chan *websocket.PreparedMessage, 256)}
	join <- c
	go write(c)
	for {
		_, data, err := socket.ReadMessage()
		if err != nil {
			break
		}
		var m message
		if json.Unmarshal(data, &m) != nil || m.Type != "msg" {
			continue
		}
		m.From = from
		encoded, _ := json.Marshal(m)
		prepared, _ := websocket.NewPreparedMessage(websocket.TextMessage, encoded)
		said <- prepared
	}
	leave <- c
}

func main() {
	go hub()
	http.HandleFunc("/ws", serve)
	panic(http.ListenAndServe("127.0.0.1:"+os.Args[1], nil))
}
