trio-wsclient connect wss://example.org/echo
echo hello | trio-wsclient connect wss://example.org/echo
trio-wsclient connect --once -x '{"op": "status"}' wss://example.org/api
trio-wsclient connect -H 'Authorization: Bearer s3cret' --ping 20 -w inf wss://example.org/feed
trio-wsclient connect --ca ca.pem --proxy socks5h://127.0.0.1:1080 wss://example.org/echo
trio-wsclient bench -t 10 wss://example.org/echo
trio-wsclient demo
