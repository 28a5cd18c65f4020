#!/bin/sh
# Names are asked for again and again, of whichever server the container has: workers come and go.
set -eu
server=$(awk '/^nameserver/ {print $2; exit}' /etc/resolv.conf)
case "$server" in *:*) server="[$server]" ;; esac
sed "s/RESOLVER/$server/" "/etc/confd-balancer/${1:-nginx}.conf" >/tmp/nginx.conf
exec nginx -c /tmp/nginx.conf -g 'daemon off;'
