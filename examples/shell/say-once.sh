#!/usr/bin/env bash
# Says each line of the input in a room, once, through restarts and broken connections of any kind.
# usage: say-once.sh HOST PORT ROOM [NICK] <lines     (PORT is the master port; bash alone is needed)
host=$1 master=$2 room=$3 nick=${4:-}
run=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')    # so many digits are good under every nick
window=100                                            # lines that are sent before the first is answered
read=0 answered=0 end='' lines=() answer=''
trap '' PIPE                                          # a broken connection is no reason to end

enter() {                                             # connects descriptor 3 to the room
  { exec 3<>"/dev/tcp/$host/$master" && echo "JOIN $room" >&3 && IFS=' ' read -r -t 30 ok _ port _ <&3; } 2>/dev/null || return
  [ "$ok" = OK ] && { exec 3<>"/dev/tcp/$host/$port"; } 2>/dev/null || return
  printf '/echo off\n%s' "${nick:+/nick $nick$'\n'}" >&3
}
talk() {                                              # until all is said, or the connection breaks
  local sent=$answered text
  while :; do
    while ((sent < answered + window)); do
      if ((sent == read)); then
        while [ ! "$end" ] && { IFS= read -r text || [ "$text" ] || { end=yes; false; }; } && [[ $text =~ ^[[:space:]]*$ ]]; do :; done
        [ "$end" ] && break
        lines[++read]=${text/#\//\/\/}                # a / at the beginning is text, too
      fi
      echo "/id $run-$((sent + 1)) ${lines[sent + 1]}" >&3 || return
      ((++sent))
    done 2>/dev/null
    [ "$end" ] && ((answered == read)) && exit
    IFS= read -r -t 60 answer <&3 || return
    case $answer in
      "* id $run-"*" not sent: "*) echo "$answer" >&2; sleep 1; return ;;     # the disk is full, or the room read-only: again
      "* id $run-$((answered + 1)) "*) ((++answered)); unset "lines[$answered]" ;;
      "* not sent: "*) echo "line $((answered + 1)): $answer" >&2; exit 1 ;;  # it is too long
    esac
  done
}
while :; do
  enter && talk
  sleep 0.2
done
