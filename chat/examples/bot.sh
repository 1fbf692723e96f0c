#!/bin/sh
# The smallest bot: answers "!time" with the time, in its first room. "!bot leave" ends it; so does ctrl-C.
#
#     chat/examples/bot.sh [flags of chat]       CHAT names the program, if it is not on the PATH
set -eu

scratch=$(mktemp -d)
trap 'rm -r "$scratch"' EXIT
mkfifo "$scratch/replies"
# Opened for both, so that opening it waits for nobody.
exec 3<>"$scratch/replies"

"${CHAT:-chat}" --nick bot --json --input json "$@" <"$scratch/replies" 3>&- |
    while read -r line; do
        # Quotes within what people say are escaped, so that nobody can say something that looks like another field.
        case $line in
        '{"type":"message"'*'"text":"!time"'*'"self":false'*)
            printf '{"do":"send","text":"it is %s"}\n' "$(date +%H:%M)" >&3
            ;;
        '{"type":"message"'*'"text":"!bot leave"'*'"self":false'*)
            printf '{"do":"leave","reason":"as you wish"}\n' >&3
            ;;
        esac
    done
