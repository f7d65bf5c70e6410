# .zshrc of a shell that completes the command lines of $LINES_TO_COMPLETE, one a line, with the functions in
# $FUNCTIONS, writes each and what it was offered to $CAPTURED, and exits (test_install.py).
PROMPT=
fpath=($FUNCTIONS $fpath)
autoload -Uz compinit
compinit -u -D

compadd() {
  # with -O, -A or -D it adds nothing
  if [[ ${@[1,(i)(-|--)]} != *-(O|A|D)\ * ]]; then
    local -a offered
    builtin compadd -A offered "$@"
    print -rl -- $offered >>$CAPTURED
  fi
  builtin compadd "$@"
}

zle-line-init() {
  local line
  for line in ${(f)LINES_TO_COMPLETE}; do
    print -r -- "> $line" >>$CAPTURED
    BUFFER=${line%.} CURSOR=$#BUFFER # a last space is kept by the point behind it
    zle list-choices
  done
  BUFFER=exit
  zle accept-line
}
zle -N zle-line-init
