# fish completion of onsager
complete -c onsager -f -a '(onsager completion --words (commandline -cp | string collect) 2>/dev/null)'
