// The grammar of `.model` files as a chevrotain parser. Pure: it makes a concrete syntax tree and nothing else.
//
// - Newlines do not count. A statement starts with a name or a keyword, and no expression goes on with a name, so
//   `y = g` and then `a, b = f(x)` are two statements. One exception: `with` and `shared` belong to the call or label
//   before them only on the same line, so that a `with ... { }` statement may follow a call.
// - Operators are a flat list here; build-expression.ts applies precedence. So the parser's stack grows with brackets
//   only, and their depth is limited before parsing.
// - Contextual words have been told apart by contextual.ts.

import { CstParser, type IParserErrorMessageProvider, type TokenType } from "chevrotain";
import { onOneLine } from "./contextual.ts";
import * as t from "./tokens.ts";

export class ModelParser extends CstParser {
  constructor(errorMessageProvider: IParserErrorMessageProvider) {
    super([...t.tokenTypes], {
      recoveryEnabled: true,
      maxLookahead: 2,
      nodeLocationTracking: "onlyOffset",
      errorMessageProvider,
    });
    this.performSelfAnalysis();
  }

  /**
   * What may follow a missing token, asked for at every error so that the token can be made up. Making up is not
   * wanted here (recovery at the next statement says more), and the computation recurses over the whole rule stack,
   * which a deeply nested file would overflow. An internal method of chevrotain: `limits.test.ts` notices if it goes.
   */
  protected getFollowsForInRuleRecovery(): readonly TokenType[] {
    return [];
  }

  private sameLine(): boolean {
    return onOneLine(this.LA(0), this.LA(1));
  }

  // Items

  file = this.RULE("file", () => {
    this.MANY(() => this.SUBRULE(this.item));
  });

  item = this.RULE("item", () => {
    this.OR([
      { ALT: () => this.SUBRULE(this.importItem) },
      { ALT: () => this.SUBRULE(this.constItem) },
      { ALT: () => this.SUBRULE(this.blockItem) },
      { ALT: () => this.SUBRULE(this.configItem) },
      { ALT: () => this.SUBRULE(this.checkpointItem) },
    ]);
  });

  importItem = this.RULE("importItem", () => {
    this.CONSUME(t.Import);
    this.CONSUME(t.LeftBrace);
    this.SUBRULE(this.importName);
    this.MANY(() => {
      this.CONSUME(t.Comma);
      this.SUBRULE2(this.importName);
    });
    this.OPTION(() => this.CONSUME2(t.Comma));
    this.CONSUME(t.RightBrace);
    this.CONSUME(t.From);
    this.CONSUME(t.Str);
  });

  importName = this.RULE("importName", () => {
    this.CONSUME(t.Name);
    this.OPTION(() => {
      this.CONSUME(t.As);
      this.CONSUME2(t.Name);
    });
  });

  constItem = this.RULE("constItem", () => {
    this.CONSUME(t.Const);
    this.CONSUME(t.Name);
    this.OPTION(() => {
      this.CONSUME(t.Colon);
      this.SUBRULE(this.type);
    });
    this.CONSUME(t.Equal);
    this.SUBRULE(this.expression);
  });

  blockItem = this.RULE("blockItem", () => {
    this.OPTION(() => this.CONSUME(t.Default));
    this.OR([{ ALT: () => this.CONSUME(t.BlockWord) }, { ALT: () => this.CONSUME(t.ModelWord) }]);
    this.CONSUME(t.Name);
    this.SUBRULE(this.parameters);
    this.OPTION2(() => this.SUBRULE2(this.parameters));
    this.CONSUME(t.ThinArrow);
    this.SUBRULE(this.results);
    this.SUBRULE(this.body);
  });

  /** Parameters and inputs alike: build.ts knows which list is which. */
  parameters = this.RULE("parameters", () => {
    this.CONSUME(t.LeftParen);
    this.OPTION(() => {
      this.SUBRULE(this.parameter);
      this.MANY(() => {
        this.CONSUME(t.Comma);
        this.SUBRULE2(this.parameter);
      });
      this.OPTION2(() => this.CONSUME2(t.Comma));
    });
    this.CONSUME(t.RightParen);
  });

  parameter = this.RULE("parameter", () => {
    this.CONSUME(t.Name);
    this.OPTION(() => this.CONSUME(t.Question));
    this.CONSUME(t.Colon);
    this.SUBRULE(this.type);
    this.OPTION2(() => {
      this.CONSUME(t.Equal);
      this.SUBRULE(this.expression);
    });
  });

  results = this.RULE("results", () => {
    this.OR([
      { ALT: () => this.SUBRULE(this.tensorType) },
      {
        ALT: () => {
          this.CONSUME(t.LeftParen);
          this.SUBRULE(this.result);
          this.MANY(() => {
            this.CONSUME(t.Comma);
            this.SUBRULE2(this.result);
          });
          this.OPTION(() => this.CONSUME2(t.Comma));
          this.CONSUME(t.RightParen);
        },
      },
    ]);
  });

  result = this.RULE("result", () => {
    this.OPTION(() => {
      this.CONSUME(t.Name);
      this.CONSUME(t.Colon);
    });
    this.SUBRULE(this.tensorType);
  });

  configItem = this.RULE("configItem", () => {
    this.CONSUME(t.Config);
    this.CONSUME(t.Name);
    this.CONSUME(t.Of);
    this.CONSUME2(t.Name);
    this.OPTION(() => {
      this.CONSUME(t.Extends);
      this.CONSUME3(t.Name);
    });
    this.OPTION2(() => this.SUBRULE(this.callArguments));
  });

  checkpointItem = this.RULE("checkpointItem", () => {
    this.CONSUME(t.Checkpoint);
    this.CONSUME(t.Name);
    this.CONSUME(t.Of);
    this.CONSUME2(t.Name);
    this.CONSUME(t.LeftBrace);
    this.MANY(() => this.SUBRULE(this.checkpointRule));
    this.CONSUME(t.RightBrace);
  });

  checkpointRule = this.RULE("checkpointRule", () => {
    this.CONSUME(t.Name);
    this.SUBRULE(this.patterns);
    this.OPTION(() => {
      this.CONSUME(t.Equal);
      this.SUBRULE2(this.patterns);
    });
    this.OPTION2(() => {
      this.CONSUME(t.Axis);
      this.OPTION3(() => this.CONSUME(t.Minus));
      this.CONSUME(t.Num);
    });
  });

  patterns = this.RULE("patterns", () => {
    this.OR([
      { ALT: () => this.CONSUME(t.Str) },
      {
        ALT: () => {
          this.CONSUME(t.LeftSquare);
          this.CONSUME2(t.Str);
          this.MANY(() => {
            this.CONSUME(t.Comma);
            this.CONSUME3(t.Str);
          });
          this.OPTION(() => this.CONSUME2(t.Comma));
          this.CONSUME(t.RightSquare);
        },
      },
    ]);
  });

  // Types

  type = this.RULE("type", () => {
    this.OR([{ ALT: () => this.SUBRULE(this.tensorType) }, { ALT: () => this.SUBRULE(this.parameterType) }]);
  });

  tensorType = this.RULE("tensorType", () => {
    this.CONSUME(t.Name);
    this.CONSUME(t.LeftSquare);
    this.OPTION(() => {
      this.SUBRULE(this.dimension);
      this.MANY(() => {
        this.CONSUME(t.Comma);
        this.SUBRULE2(this.dimension);
      });
      this.OPTION2(() => this.CONSUME2(t.Comma));
    });
    this.CONSUME(t.RightSquare);
  });

  dimension = this.RULE("dimension", () => {
    this.OPTION(() => {
      this.CONSUME(t.Name);
      this.CONSUME(t.Equal);
    });
    this.SUBRULE(this.expression);
  });

  parameterType = this.RULE("parameterType", () => {
    this.OR([
      {
        ALT: () => {
          this.CONSUME(t.Name);
          this.MANY(() => {
            this.CONSUME(t.Bar);
            this.CONSUME2(t.Name);
          });
        },
      },
      {
        ALT: () => {
          this.CONSUME(t.LeftSquare);
          this.SUBRULE(this.parameterType);
          this.CONSUME(t.RightSquare);
        },
      },
      {
        ALT: () => {
          this.CONSUME(t.LeftParen);
          this.SUBRULE2(this.parameterType);
          this.MANY2(() => {
            this.CONSUME(t.Comma);
            this.SUBRULE3(this.parameterType);
          });
          this.CONSUME(t.RightParen);
        },
      },
    ]);
    this.OPTION(() => this.CONSUME(t.Question));
  });

  // Statements

  body = this.RULE("body", () => {
    this.CONSUME(t.LeftBrace);
    this.MANY(() => this.SUBRULE(this.statement));
    this.CONSUME(t.RightBrace);
  });

  statement = this.RULE("statement", () => {
    this.OR([
      { ALT: () => this.SUBRULE(this.assignStatement) },
      { ALT: () => this.SUBRULE(this.returnStatement) },
      { ALT: () => this.SUBRULE(this.ifStatement) },
      { ALT: () => this.SUBRULE(this.forStatement) },
      { ALT: () => this.SUBRULE(this.repeatStatement) },
      { ALT: () => this.SUBRULE(this.stateStatement) },
      { ALT: () => this.SUBRULE(this.outputStatement) },
      { ALT: () => this.SUBRULE(this.weightStatement) },
      { ALT: () => this.SUBRULE(this.preprocessStatement) },
      { ALT: () => this.SUBRULE(this.assertStatement) },
      { ALT: () => this.SUBRULE(this.withStatement) },
    ]);
  });

  assignStatement = this.RULE("assignStatement", () => {
    this.CONSUME(t.Target);
    this.MANY(() => {
      this.CONSUME(t.Comma);
      this.CONSUME(t.Name);
    });
    this.CONSUME(t.Equal);
    this.SUBRULE(this.expression);
  });

  returnStatement = this.RULE("returnStatement", () => {
    this.CONSUME(t.Return);
    this.SUBRULE(this.returnValue);
    this.MANY(() => {
      this.CONSUME(t.Comma);
      this.SUBRULE2(this.returnValue);
    });
  });

  returnValue = this.RULE("returnValue", () => {
    this.OPTION(() => {
      this.CONSUME(t.Name);
      this.CONSUME(t.Equal);
    });
    this.SUBRULE(this.expression);
  });

  /** `else if` is a loop here, so that a long chain needs no stack. */
  ifStatement = this.RULE("ifStatement", () => {
    this.CONSUME(t.If);
    this.SUBRULE(this.expression);
    this.SUBRULE(this.body);
    this.MANY(() => {
      this.CONSUME(t.Else);
      this.CONSUME2(t.If);
      this.SUBRULE2(this.expression);
      this.SUBRULE2(this.body);
    });
    this.OPTION(() => {
      this.CONSUME2(t.Else);
      this.SUBRULE3(this.body);
    });
  });

  forStatement = this.RULE("forStatement", () => {
    this.CONSUME(t.For);
    this.SUBRULE(this.pattern);
    this.CONSUME(t.In);
    this.SUBRULE(this.expression);
    this.OPTION(() => this.SUBRULE(this.label));
    this.MANY(() => this.SUBRULE(this.annotation));
    this.SUBRULE(this.body);
  });

  pattern = this.RULE("pattern", () => {
    this.OR([
      { ALT: () => this.SUBRULE(this.names) },
      {
        ALT: () => {
          this.CONSUME(t.LeftParen);
          this.SUBRULE2(this.names);
          this.CONSUME(t.RightParen);
        },
      },
    ]);
  });

  names = this.RULE("names", () => {
    this.CONSUME(t.Name);
    this.MANY(() => {
      this.CONSUME(t.Comma);
      this.CONSUME2(t.Name);
    });
  });

  repeatStatement = this.RULE("repeatStatement", () => {
    this.CONSUME(t.Repeat);
    this.SUBRULE(this.expression);
    this.OPTION(() => {
      this.CONSUME(t.As);
      this.CONSUME(t.Name);
    });
    this.OPTION2(() => this.SUBRULE(this.label));
    this.MANY(() => this.SUBRULE(this.annotation));
    this.SUBRULE(this.body);
  });

  stateStatement = this.RULE("stateStatement", () => {
    this.CONSUME(t.State);
    this.CONSUME(t.Name);
    this.CONSUME(t.Colon);
    this.SUBRULE(this.tensorType);
    this.CONSUME(t.Equal);
    this.SUBRULE(this.expression);
  });

  outputStatement = this.RULE("outputStatement", () => {
    this.CONSUME(t.Output);
    this.CONSUME(t.Name);
    this.OPTION(() => {
      this.CONSUME(t.LeftSquare);
      this.SUBRULE(this.expression);
      this.CONSUME(t.RightSquare);
    });
    this.CONSUME(t.Equal);
    this.SUBRULE2(this.expression);
  });

  weightStatement = this.RULE("weightStatement", () => {
    this.CONSUME(t.Weight);
    this.CONSUME(t.Name);
    this.CONSUME(t.Colon);
    this.SUBRULE(this.tensorType);
    this.OPTION(() => this.SUBRULE(this.label));
  });

  preprocessStatement = this.RULE("preprocessStatement", () => {
    this.CONSUME(t.Preprocess);
    this.CONSUME(t.Name);
    this.SUBRULE(this.callArguments);
  });

  assertStatement = this.RULE("assertStatement", () => {
    this.CONSUME(t.Assert);
    this.SUBRULE(this.expression);
    this.OPTION(() => {
      this.CONSUME(t.Comma);
      this.SUBRULE2(this.expression);
    });
  });

  withStatement = this.RULE("withStatement", () => {
    this.AT_LEAST_ONE(() => this.SUBRULE(this.annotation));
    this.SUBRULE(this.body);
  });

  label = this.RULE("label", () => {
    this.OR([
      {
        ALT: () => {
          this.CONSUME(t.At);
          this.SUBRULE(this.labelPart);
          this.MANY(() => {
            this.CONSUME(t.Dot);
            this.SUBRULE2(this.labelPart);
          });
          this.OPTION(() => this.CONSUME(t.Shared));
          this.OPTION2(() => this.SUBRULE(this.origin));
        },
      },
      { ALT: () => this.SUBRULE2(this.origin) },
    ]);
  });

  /** Which checkpoint the weights are of. */
  origin = this.RULE("origin", () => {
    this.CONSUME(t.From);
    this.CONSUME(t.Name);
  });

  labelPart = this.RULE("labelPart", () => {
    this.CONSUME(t.Name);
    this.OPTION(() => {
      this.CONSUME(t.LeftSquare);
      this.SUBRULE(this.expression);
      this.CONSUME(t.RightSquare);
    });
  });

  annotation = this.RULE("annotation", () => {
    this.CONSUME(t.With);
    this.CONSUME(t.Name);
    this.OPTION({
      GATE: () => this.sameLine() && this.LA(2).tokenType !== t.FatArrow,
      DEF: () => this.SUBRULE(this.annotationValue),
    });
  });

  annotationValue = this.RULE("annotationValue", () => {
    this.OR([
      {
        ALT: () => {
          this.CONSUME(t.Name);
          this.SUBRULE(this.callArguments);
        },
      },
      { ALT: () => this.SUBRULE(this.literal) },
    ]);
  });

  // Expressions

  expression = this.RULE("expression", () => {
    this.OR([
      { ALT: () => this.SUBRULE(this.ifExpression) },
      {
        ALT: () => {
          this.SUBRULE(this.operand);
          this.MANY(() => {
            this.CONSUME(t.BinaryOperator);
            this.SUBRULE2(this.operand);
          });
        },
      },
    ]);
  });

  /** Condition and first branch hold no bare `if`; a chain goes on in the `else` branch, as a loop. */
  ifExpression = this.RULE("ifExpression", () => {
    this.CONSUME(t.If);
    this.SUBRULE(this.operation);
    this.CONSUME(t.Then);
    this.SUBRULE2(this.operation);
    this.MANY(() => {
      this.CONSUME(t.Else);
      this.CONSUME2(t.If);
      this.SUBRULE3(this.operation);
      this.CONSUME2(t.Then);
      this.SUBRULE4(this.operation);
    });
    this.CONSUME2(t.Else);
    this.SUBRULE5(this.operation);
  });

  operation = this.RULE("operation", () => {
    this.SUBRULE(this.operand);
    this.MANY(() => {
      this.CONSUME(t.BinaryOperator);
      this.SUBRULE2(this.operand);
    });
  });

  operand = this.RULE("operand", () => {
    this.MANY(() => this.CONSUME(t.PrefixOperator));
    this.OR([
      { ALT: () => this.SUBRULE(this.literal) },
      { ALT: () => this.SUBRULE(this.reference) },
      { ALT: () => this.SUBRULE(this.parentheses) },
      { ALT: () => this.SUBRULE(this.list) },
      { ALT: () => this.SUBRULE(this.matchExpression) },
    ]);
    this.MANY2(() => this.SUBRULE(this.suffix));
  });

  suffix = this.RULE("suffix", () => {
    this.OR([
      {
        ALT: () => {
          this.CONSUME(t.LeftSquare);
          this.SUBRULE(this.expression);
          this.CONSUME(t.RightSquare);
        },
      },
      {
        ALT: () => {
          this.CONSUME(t.Dot);
          this.CONSUME(t.Name);
        },
      },
    ]);
  });

  literal = this.RULE("literal", () => {
    this.OR([
      { ALT: () => this.CONSUME(t.Num) },
      { ALT: () => this.CONSUME(t.Str) },
      { ALT: () => this.CONSUME(t.True) },
      { ALT: () => this.CONSUME(t.False) },
      { ALT: () => this.CONSUME(t.None) },
      { ALT: () => this.CONSUME(t.Ellipsis) },
    ]);
  });

  /** A name, or a call: `f(a, k = 3) @label with reduce tome(r = 8)`. */
  reference = this.RULE("reference", () => {
    this.CONSUME(t.Name);
    this.OPTION(() => {
      this.SUBRULE(this.callArguments);
      this.OPTION2(() => this.SUBRULE(this.label));
      this.MANY({ GATE: () => this.sameLine(), DEF: () => this.SUBRULE(this.annotation) });
    });
  });

  // Named so because chevrotain makes a property of each rule, and `arguments` is none to have.
  callArguments = this.RULE("callArguments", () => {
    this.CONSUME(t.LeftParen);
    this.OPTION(() => {
      this.SUBRULE(this.argument);
      this.MANY(() => {
        this.CONSUME(t.Comma);
        this.SUBRULE2(this.argument);
      });
      this.OPTION2(() => this.CONSUME2(t.Comma));
    });
    this.CONSUME(t.RightParen);
  });

  argument = this.RULE("argument", () => {
    this.OPTION(() => {
      this.CONSUME(t.Name);
      this.CONSUME(t.Equal);
    });
    this.SUBRULE(this.expression);
  });

  /** `(a)` groups; a comma makes a tuple. */
  parentheses = this.RULE("parentheses", () => {
    this.CONSUME(t.LeftParen);
    this.SUBRULE(this.expression);
    this.MANY(() => {
      this.CONSUME(t.Comma);
      this.SUBRULE2(this.expression);
    });
    this.OPTION(() => this.CONSUME2(t.Comma));
    this.CONSUME(t.RightParen);
  });

  list = this.RULE("list", () => {
    this.CONSUME(t.LeftSquare);
    this.OPTION(() => {
      this.SUBRULE(this.expression);
      this.OR([
        {
          ALT: () => {
            this.CONSUME(t.For);
            this.SUBRULE(this.pattern);
            this.CONSUME(t.In);
            this.SUBRULE2(this.expression);
            this.OPTION2(() => {
              this.CONSUME(t.If);
              this.SUBRULE3(this.expression);
            });
          },
        },
        {
          ALT: () => {
            this.MANY(() => {
              this.CONSUME(t.Comma);
              this.SUBRULE4(this.expression);
            });
            this.OPTION3(() => this.CONSUME2(t.Comma));
          },
        },
      ]);
    });
    this.CONSUME(t.RightSquare);
  });

  matchExpression = this.RULE("matchExpression", () => {
    this.CONSUME(t.Match);
    this.SUBRULE(this.expression);
    this.CONSUME(t.LeftBrace);
    this.MANY(() => this.SUBRULE(this.arm));
    this.CONSUME(t.RightBrace);
  });

  /** A comma may stand between arms, and must where the next pattern is a negative number. */
  arm = this.RULE("arm", () => {
    this.OR([
      { ALT: () => this.CONSUME(t.Name) },
      {
        ALT: () => {
          this.OPTION(() => this.CONSUME(t.Minus));
          this.CONSUME(t.Num);
        },
      },
      { ALT: () => this.CONSUME(t.Str) },
      { ALT: () => this.CONSUME(t.True) },
      { ALT: () => this.CONSUME(t.False) },
      { ALT: () => this.CONSUME(t.None) },
    ]);
    this.CONSUME(t.FatArrow);
    this.SUBRULE(this.expression);
    this.OPTION2(() => this.CONSUME(t.Comma));
  });
}
